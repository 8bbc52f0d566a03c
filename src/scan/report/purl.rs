//! Package URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::scan::inventory::{Language, Manager, Package, Release};

/// Characters that are encoded in a package URL; a colon never is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// Returns the URL of a system package, as in `pkg:deb/debian/nginx@1.22.1-9?arch=amd64&distro=debian-12`.
pub fn package_url(package: &Package, release: Option<&Release>) -> String {
    let kind = match package.manager {
        Manager::Dpkg => "deb",
        Manager::Rpm => "rpm",
        Manager::Apk => "apk",
    };
    let vendor = release.map_or("", |release| release.id.as_str());
    // The epoch of an RPM is a qualifier.
    let (epoch, version) = match package.version.split_once(':') {
        Some((epoch, version)) if package.manager == Manager::Rpm => (epoch, version),
        _ => ("", package.version.as_str()),
    };
    let distro = match release {
        Some(release) if release.version.is_empty() => release.id.clone(),
        Some(release) => format!("{}-{}", release.id, release.version),
        None => String::new(),
    };
    let is_own_source = package.source == package.name && package.source_version == package.version;
    let upstream = if is_own_source || package.source.is_empty() {
        String::new()
    } else {
        format!("{}@{}", package.source, package.source_version)
    };
    // Sorted by name and without empty ones, as the specification requires.
    let qualifiers = [
        ("arch", package.architecture.clone()),
        ("distro", distro),
        ("epoch", epoch.to_owned()),
        ("upstream", upstream),
    ];
    let qualifiers = qualifiers.iter().filter(|(_, value)| !value.is_empty());
    let qualifiers: Vec<_> = qualifiers
        .map(|(key, value)| format!("{key}={}", encoded(value)))
        .collect();
    let mut url = format!("pkg:{kind}");
    for part in [vendor, &package.name] {
        if !part.is_empty() {
            url = format!("{url}/{}", encoded(part));
        }
    }
    url = format!("{url}@{}", encoded(version));
    if !qualifiers.is_empty() {
        url = format!("{url}?{}", qualifiers.join("&"));
    }
    url
}

/// Returns the URL of a language package, as in `pkg:npm/%40scope/name@1.0.0`.
pub fn language_url(package: &Language) -> String {
    let name = match package.kind.as_str() {
        // PyPI treats `Foo_Bar` and `foo-bar` as equal.
        "pypi" => package.name.to_lowercase().replace('_', "-"),
        _ => package.name.clone(),
    };
    let name: Vec<_> = name.split('/').map(encoded).collect();
    let version = match package.version.as_str() {
        "" => String::new(),
        version => format!("@{}", encoded(version)),
    };
    format!("pkg:{}/{}{version}", package.kind, name.join("/"))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::package;

    #[test]
    fn packages_are_named_as_other_tools_name_them() {
        let debian = Release {
            id: "debian".to_owned(),
            version: "12".to_owned(),
            ..Release::default()
        };
        for (package, release, expected) in [
            (
                package(Manager::Dpkg, "nginx", "1.22.1-9"),
                Some(&debian),
                "pkg:deb/debian/nginx@1.22.1-9?arch=amd64&distro=debian-12",
            ),
            (
                Package {
                    source: "gcc-12".to_owned(),
                    source_version: "12.2".to_owned(),
                    ..package(Manager::Dpkg, "libstdc++6", "1:2~3+b1")
                },
                Some(&debian),
                "pkg:deb/debian/libstdc%2B%2B6@1:2~3%2Bb1?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2",
            ),
            (
                package(Manager::Rpm, "curl", "2:7.76-1.el9"),
                None,
                "pkg:rpm/curl@7.76-1.el9?arch=amd64&epoch=2",
            ),
        ] {
            assert_eq!(package_url(&package, release), expected);
        }
        for (kind, name, version, expected) in [
            ("npm", "@scope/name", "1.0", "pkg:npm/%40scope/name@1.0"),
            ("pypi", "Foo_Bar", "1.0", "pkg:pypi/foo-bar@1.0"),
            (
                "golang",
                "example.org/a/b",
                "",
                "pkg:golang/example.org/a/b",
            ),
        ] {
            let language = Language {
                path: "/x".to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
                version: version.to_owned(),
                license: String::new(),
            };
            assert_eq!(language_url(&language), expected);
        }
    }
}
