//! Words for a remote shell.

/// One word that a POSIX shell reads back as exactly `text`, whatever it holds.
#[must_use]
pub fn quote(text: &str) -> String {
    String::from_utf8_lossy(&quote_bytes(text.as_bytes())).into_owned()
}

/// As [`quote`], for names that need not be UTF-8.
pub(super) fn quote_bytes(text: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:,+@%".contains(byte);
    if !text.is_empty() && text.iter().all(plain) {
        return text.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in text {
        match byte {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in [
            "",
            "plain",
            "two words",
            "it's",
            "$(id)`id`",
            "line\nbreak\n",
            "-leading",
            "\\back",
            "ünïcode",
            "\"",
            "*",
        ] {
            let script = format!("printf %s {}", quote(text));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
    }
}
