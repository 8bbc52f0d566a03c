//! Removes traces of the day of the build from files that are kept. Pure.

use crate::disk::read::Time;

const DAY: i64 = 24 * 60 * 60;

/// Clamps the days of password changes in `/etc/shadow` to the day of the epoch. `None` if nothing changes.
///
/// The third field between colons is the day, counted from 1970 (shadow(5)). Zero forces a new password, and is kept.
pub(super) fn shadow_days(text: &[u8], epoch: i64) -> Option<Vec<u8>> {
    let latest = epoch.div_euclid(DAY);
    let mut changed = false;
    let lines: Vec<Vec<u8>> = text
        .split(|&byte| byte == b'\n')
        .map(|line| {
            let mut fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
            let day = fields
                .get(2)
                .and_then(|field| std::str::from_utf8(field).ok()?.parse::<i64>().ok());
            let today = latest.to_string();
            if day.is_some_and(|day| day > latest) {
                fields[2] = today.as_bytes();
                changed = true;
            }
            fields.join(&b':')
        })
        .collect();
    changed.then(|| lines.join(&b'\n'))
}

/// Sets the timestamp of `systemd-update-done(8)` to the time of `/usr`. `None` if it has that time, or none.
pub(super) fn update_stamp(text: &[u8], usr: Time) -> Option<Vec<u8>> {
    const KEY: &[u8] = b"TIMESTAMP_NSEC=";
    let nanoseconds = i128::from(usr.seconds) * 1_000_000_000 + i128::from(usr.nanoseconds);
    let lines: Vec<Vec<u8>> = text
        .split(|&byte| byte == b'\n')
        .map(|line| {
            if line.starts_with(KEY) {
                [KEY, nanoseconds.to_string().as_bytes()].concat()
            } else {
                line.to_vec()
            }
        })
        .collect();
    let changed = lines.join(&b'\n');
    (changed != text).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_after_the_epoch_become_its_day() {
        let epoch = 20_000 * DAY + 5;
        for (line, expected) in [
            ("root:*:19000:0:99999:7:::\n", None),
            ("root:*:20000:0:99999:7:::\n", None),
            (
                "root:*:20001:0:99999:7:::\nweb:!:0:0:99999:7:::\n",
                Some("root:*:20000:0:99999:7:::\nweb:!:0:0:99999:7:::\n"),
            ),
            ("web:!:20400::::::", Some("web:!:20000::::::")),
            ("web:!::::::\nnonsense\n", None),
            ("", None),
        ] {
            let changed =
                shadow_days(line.as_bytes(), epoch).map(|text| String::from_utf8(text).unwrap());
            assert_eq!(changed.as_deref(), expected, "{line:?}");
        }
    }

    #[test]
    fn the_note_of_an_update_follows_usr() {
        let usr = Time {
            seconds: 17,
            nanoseconds: 5,
        };
        let changed = update_stamp(b"# a note\nTIMESTAMP_NSEC=99\n", usr).unwrap();
        assert_eq!(changed, b"# a note\nTIMESTAMP_NSEC=17000000005\n");
        assert_eq!(update_stamp(&changed, usr), None);
        assert_eq!(update_stamp(b"", usr), None);
    }
}
