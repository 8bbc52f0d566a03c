//! The paths of a tree in a compact form, as there can be hundreds of thousands.

/// File index of a removed path.
const REMOVED: u32 = u32::MAX;

/// Paths with the indices of their files, sorted by bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// The bytes of all of them.
    bytes: Vec<u8>,
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    start: u32,
    length: u32,
    file: u32,
}

impl Paths {
    /// Returns the number of paths, removed ones included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns the number of bytes of all paths.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self, name: &Name) -> &[u8] {
        &self.bytes[name.start as usize..][..name.length as usize]
    }

    /// Returns the path with a number and its file, unless it was removed.
    pub fn get(&self, number: usize) -> Option<(&[u8], usize)> {
        let name = self.names.get(number).filter(|name| name.file != REMOVED)?;
        Some((self.text(name), name.file as usize))
    }

    /// Appends a path; the caller has to [`sort`](Self::sort) later.
    pub fn push(&mut self, path: &[u8], file: usize) {
        let name = self.name(path, file);
        self.names.push(name);
    }

    fn name(&mut self, path: &[u8], file: usize) -> Name {
        let small = |number: usize| {
            u32::try_from(number).expect("reading a tree is limited to fewer paths and files")
        };
        let start = small(self.bytes.len());
        self.bytes.extend(path);
        Name {
            start,
            length: small(path.len()),
            file: small(file),
        }
    }

    /// Sorts the appended paths.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        let text = |name: &Name| &bytes[name.start as usize..][..name.length as usize];
        self.names
            .sort_unstable_by(|one, other| text(one).cmp(text(other)));
        self.names.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    fn search(&self, path: &[u8]) -> Result<usize, usize> {
        self.names
            .binary_search_by(|name| self.text(name).cmp(path))
    }

    /// Returns the file at a path.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        let (_, file) = self.get(self.search(path).ok()?)?;
        Some(file)
    }

    /// Puts a file at a path, and replaces a file there.
    pub fn insert(&mut self, path: &[u8], file: usize) {
        let index = self.search(path);
        let name = self.name(path, file);
        match index {
            Ok(at) => self.names[at] = name,
            Err(at) => self.names.insert(at, name),
        }
    }

    /// Returns the numbers of all paths that start with `path`: it, everything below it, and some others.
    fn with_prefix(&self, path: &[u8]) -> std::ops::Range<usize> {
        let (Ok(start) | Err(start)) = self.search(path);
        let count = self.names[start..].partition_point(|name| self.text(name).starts_with(path));
        start..start + count
    }

    /// Returns a path and everything below it.
    pub fn inside<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = (&[u8], usize)> + use<'_, 'p> {
        let paths = self.with_prefix(path).filter_map(|number| self.get(number));
        paths.filter(move |(other, _)| is_in(path, other))
    }

    /// Removes a path and everything below it. Returns whether it existed.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        let mut existed = false;
        for number in self.with_prefix(path) {
            let name = self.names[number];
            if name.file != REMOVED && is_in(path, self.text(&name)) {
                self.names[number].file = REMOVED;
                existed = true;
            }
        }
        existed
    }
}

/// Returns whether `path`, which starts with `directory`, is that directory or below it.
fn is_in(directory: &[u8], path: &[u8]) -> bool {
    directory == b"/" || matches!(path.get(directory.len()), None | Some(b'/'))
}
