//! Checks the `[finish]` table.

use super::check::{ADD_REASON, Checker};
use super::{Finish, PathException};
use crate::template::schema;
use crate::template::spanned::Spanned;

impl Checker<'_> {
    pub(super) fn finish(&mut self, finish: Option<&schema::Finish>) -> Finish {
        let none = schema::Finish::default();
        let schema::Finish {
            rebuild,
            drop,
            keep,
        } = finish.unwrap_or(&none);
        Finish {
            rebuild: rebuild.as_ref().is_none_or(|flag| flag.0),
            drop: self.exceptions(drop),
            keep: self.exceptions(keep),
        }
    }

    fn exceptions(&mut self, exceptions: &[Spanned<schema::Exception>]) -> Vec<PathException> {
        let exceptions = exceptions.iter().map(|exception| {
            let (table, exception) = (exception.span(), exception.get_ref());
            let help = "add `path = \"/var/lib/app/cache\"`; `*` and `**` are wildcards";
            let path = self.required(&table, "path", exception.path.as_ref(), help);
            if let Some(written) = exception.path.as_ref().filter(|_| !path.is_empty()) {
                self.image_glob(written, "name the files, as in \"/var/lib/app/cache/*\"");
            }
            let reason = self.required(&table, "reason", exception.reason.as_ref(), ADD_REASON);
            PathException { path, reason }
        });
        exceptions.collect()
    }
}
