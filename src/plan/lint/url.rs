//! URLs as commands of a script have them.

use crate::plan::AllowedUrl;

/// Characters of a path that are known only when the step runs, or stand for several URLs.
const DYNAMIC: [char; 6] = ['$', '{', '[', '*', '`', '\\'];
/// Beginnings of hosts that are the guest itself, or its hypervisor.
const LOCAL: [&str; 5] = ["127.", "169.254.", "0.0.0.0", "[::1]", "10.0.2."];

/// Returns a URL of another host, as `network.allow` takes it. One whose end is not known becomes the prefix that is.
pub(super) fn remote(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    if !["http", "https", "ftp"].contains(&scheme) {
        return None;
    }
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // A login is not part of the URL that is fetched.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    if !is_remote_host(host) {
        return None;
    }
    let path = match path.find(DYNAMIC) {
        Some(end) => &path[..=path[..end].rfind('/').unwrap_or_default()],
        None => path,
    };
    // A prefix has no query.
    let path = match path.split_once('?') {
        Some((before, _)) if before.ends_with('/') => before,
        _ => path,
    };
    let url = format!("{scheme}://{host}{path}");
    reqwest::Url::parse(&url).is_ok().then_some(url)
}

fn is_remote_host(host: &str) -> bool {
    // A name without a dot is one of the guest's own, as of a container.
    let is_local = host.ends_with("localhost") || LOCAL.iter().any(|local| host.starts_with(local));
    host.contains('.') && !is_local && !host.contains(DYNAMIC)
}

/// Returns the URL that curl and wget make of `example.org/file`.
pub(super) fn without_scheme(word: &str) -> Option<String> {
    let host = word.split(['/', ':', '?']).next().unwrap_or(word);
    let top_level = host.rsplit('.').next().unwrap_or(host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_name = host.starts_with(|first: char| first.is_ascii_alphanumeric())
        && host.bytes().all(is_host)
        && top_level.len() > 1
        && top_level.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !is_name || word.contains("://") {
        return None;
    }
    remote(&format!("http://{word}"))
}

/// Returns everything on the host of a URL, as a prefix.
pub(super) fn origin(word: &str) -> Option<String> {
    let url = remote(word)?;
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?']).next()?;
    Some(format!("{scheme}://{host}/"))
}

/// Returns a repository of another host, in any form that git knows.
pub(super) fn repository(word: &str) -> Option<String> {
    if let Some(url) = remote(word) {
        return Some(url);
    }
    let ssh = ["ssh://", "git://"]
        .iter()
        .find_map(|scheme| word.strip_prefix(scheme));
    let (host, _) = match ssh {
        Some(rest) => rest.split_once('/')?,
        // `git@example.org:app.git`
        None => word
            .split_once('@')
            .filter(|(user, _)| !user.contains('/'))?
            .1
            .split_once(':')?,
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    (is_remote_host(host) && !word.contains('$')).then(|| word.to_owned())
}

/// Returns true if a URL, or a part of a prefix, is allowed.
pub(super) fn is_allowed(url: &str, allowed: &[AllowedUrl]) -> bool {
    allowed.iter().any(|allow| {
        let is_below = |url: &str, prefix: &str| prefix.ends_with('/') && url.starts_with(prefix);
        allow.url == url || is_below(url, &allow.url) || is_below(&allow.url, url)
    })
}

/// Returns advice for a URL that cannot be allowed.
pub(super) fn advice(url: &str) -> Option<&'static str> {
    url.starts_with("ftp://").then_some(
        "fetch it from an `https` URL that [network] allows, or upload it with [[files]]: karat's proxy has no FTP",
    )
}
