//! Symbolic links on the way of a path.

/// Symbolic links followed for one path: Linux's limit.
const MAX_LINKS: usize = 40;

/// Follows the links of a path within a tree; `None` if it leads nowhere. `lookup` returns the target of a link, or `None` for
/// another file, of a path that exists.
pub(crate) fn follow_links<'t>(
    path: &[u8],
    lookup: impl Fn(&[u8]) -> Option<Option<&'t [u8]>>,
) -> Option<Vec<u8>> {
    let mut todo: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
    todo.reverse();
    let (mut here, mut links) = (Vec::new(), 0);
    while let Some(name) = todo.pop() {
        if name == b".." {
            let end = here.iter().rposition(|&byte| byte == b'/');
            here.truncate(end.unwrap_or(0));
            continue;
        }
        let before = here.len();
        here.push(b'/');
        here.extend(&name);
        if let Some(target) = lookup(&here)? {
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            here.truncate(if target.starts_with(b"/") { 0 } else { before });
            let target: Vec<_> = components(target).map(<[u8]>::to_vec).collect();
            todo.extend(target.into_iter().rev());
        }
    }
    if here.is_empty() {
        here.push(b'/');
    }
    Some(here)
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}
