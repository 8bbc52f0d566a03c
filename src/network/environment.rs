//! Shell lines that point a step's programs at the proxy. They run before the step's own environment is set.
//!
//! The authority's certificate goes into an in-memory file beside the script, which is removed with the step. `$0` is the step's
//! start file, so its directory is that of the step. The lines set no helper variables, because all names belong to the user.

use crate::ssh::quote;

const AUTHORITY: &str = "\"${0%/*}/authority.pem\"";
const WGETRC: &str = "\"${0%/*}/wgetrc\"";

/// Both spellings, because programs read one or the other.
const PROXY_VARIABLES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];
/// Read by OpenSSL, curl, Python's requests and pip, Node and npm, Git, Cargo, the AWS tools, Deno, Perl.
const CERTIFICATE_VARIABLES: [&str; 11] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "PERL_LWP_SSL_CA_FILE",
];
/// Connections to the machine itself bypass the proxy (10.0.2.15 is its address in QEMU's user network). The other settings
/// turn off update checks.
const SETTINGS: &str = "\
export no_proxy=\"localhost,127.0.0.1,::1,10.0.2.15,$(read -r name </proc/sys/kernel/hostname && echo \"$name\")\"
export NO_PROXY=\"$no_proxy\" NODE_USE_ENV_PROXY=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 NPM_CONFIG_AUDIT=false NPM_CONFIG_FUND=false NPM_CONFIG_UPDATE_NOTIFIER=false
";

/// Returns the lines for a proxy URL and the certificate of its authority.
pub(super) fn prelude(proxy: &str, certificate: &str) -> String {
    let proxy = quote(proxy);
    let certificate = quote(certificate);
    let exports = |names: &[&str], value: &str| {
        let words = names.iter().map(|name| format!(" {name}={value}"));
        format!("export{}\n", words.collect::<String>())
    };
    // wget reads no certificate variable, only one that names its settings file.
    format!(
        "printf %s {certificate} >{AUTHORITY}\n\
         printf 'ca_certificate = %s\\n' {AUTHORITY} >{WGETRC}\n\
         {}{}export WGETRC={WGETRC}\n{SETTINGS}",
        exports(&PROXY_VARIABLES, &proxy),
        exports(&CERTIFICATE_VARIABLES, AUTHORITY),
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_the_lines_and_leaves_the_certificate_beside_the_script() {
        let directory = tempfile::Builder::new()
            .prefix("a 'step' ")
            .tempdir()
            .unwrap();
        let start = directory.path().join("start");
        let show = "printf '%s|%s|%s\\n' \"$https_proxy\" \"$SSL_CERT_FILE\" \"$no_proxy\"\n";
        let text = prelude("http://127.0.0.1:4", "-----BEGIN\nIT'S\n") + show;
        std::fs::write(&start, text).unwrap();
        let output = Command::new("sh").arg("-eu").arg(&start).output().unwrap();
        let certificate = directory.path().join("authority.pem");
        let expected = format!(
            "http://127.0.0.1:4|{}|localhost,127.0.0.1,::1,10.0.2.15,{}",
            certificate.display(),
            std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap()
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_eq!(
            std::fs::read_to_string(&certificate).unwrap(),
            "-----BEGIN\nIT'S\n"
        );
        let wget = std::fs::read_to_string(directory.path().join("wgetrc")).unwrap();
        assert_eq!(
            wget,
            format!("ca_certificate = {}\n", certificate.display())
        );
    }
}
