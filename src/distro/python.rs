//! Names of compiled Python modules.

/// Returns the source of a compiled module (PEP 3147): `x/name.py` for `x/__pycache__/name.cpython-311.opt-1.pyc`.
///
/// A module that was compiled on the machine is in no package's checksums, but everything in it comes from its source.
pub(crate) fn source_of_compiled(path: &[u8]) -> Option<Vec<u8>> {
    const CACHE: &[u8] = b"/__pycache__/";
    let stem = path.strip_suffix(b".pyc")?;
    let at = memchr::memmem::rfind(stem, CACHE)?;
    let file = &stem[at + CACHE.len()..];
    let dot = file.iter().position(|&byte| byte == b'.')?;
    let valid = dot > 0 && !file.contains(&b'/');
    valid.then(|| [&stem[..at], b"/", &file[..dot], b".py"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_made_of_the_source_beside_its_cache() {
        for (path, expected) in [
            ("/a/__pycache__/x.cpython-311.pyc", Some("/a/x.py")),
            ("/a/__pycache__/x.cpython-311.opt-1.pyc", Some("/a/x.py")),
            ("/a/__pycache__/x.pypy39.pyc", Some("/a/x.py")),
            ("/a/__pycache__/x.pyc", None),
            ("/a/__pycache__/.cpython-311.pyc", None),
            ("/a/x.pyc", None),
            ("/a/__pycache__/deep/x.cpython-311.pyc", None),
        ] {
            let source = source_of_compiled(path.as_bytes());
            assert_eq!(source.as_deref(), expected.map(str::as_bytes), "{path}");
        }
    }
}
