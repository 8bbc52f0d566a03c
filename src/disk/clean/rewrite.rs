//! Files that stay, with the traces of the day taken out. Pure.

use crate::disk::read::Time;

const DAY: i64 = 24 * 60 * 60;

/// `/etc/shadow` with no change of a password later than the epoch's day. `None` when nothing is to be changed.
///
/// The third of the fields between colons is the day, counted from 1970 (shadow(5)). Zero asks for a new password and stays.
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

/// The note of `systemd-update-done(8)` with the time that `/usr` gets. `None` when it has that, or no time at all.
pub(super) fn update_stamp(text: &[u8], _epoch: i64, usr: Time) -> Option<Vec<u8>> {
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
            ("web:!:20400::::", Some("web:!:20000::::")),
            ("web:!::::\nnonsense\n", None),
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
        let changed = update_stamp(b"# a note\nTIMESTAMP_NSEC=99\n", 0, usr).unwrap();
        assert_eq!(changed, b"# a note\nTIMESTAMP_NSEC=17000000005\n");
        assert_eq!(update_stamp(&changed, 0, usr), None);
        assert_eq!(update_stamp(b"", 0, usr), None);
    }
}
