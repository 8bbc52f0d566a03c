//! Quoting for remote shells.

/// Quotes `text` as one word that a POSIX shell reads back unchanged.
#[must_use]
pub(crate) fn quote(text: &str) -> String {
    let quoter = shlex::Quoter::new().allow_nul(true);
    quoter.quote(text).expect(INFALLIBLE).into_owned()
}

/// Like [`quote`], for names that need not be UTF-8.
pub(super) fn quote_bytes(text: &[u8]) -> Vec<u8> {
    let quoter = shlex::bytes::Quoter::new().allow_nul(true);
    quoter.quote(text).expect(INFALLIBLE).into_owned()
}

/// Callers refuse NUL where it could come from a user, each with its own message.
const INFALLIBLE: &str = "only NUL is an error, and it is allowed here";

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
