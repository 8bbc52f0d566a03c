//! The paths of a tree, in little memory: there can be hundreds of thousands.

/// Stands for the file of a path that was taken away.
const NONE: u32 = u32::MAX;

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
    /// How many there are, those that were taken away included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Bytes of all together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self, name: &Name) -> &[u8] {
        &self.bytes[name.start as usize..][..name.length as usize]
    }

    /// The path of a number and its file, unless it was taken away.
    pub fn get(&self, number: usize) -> Option<(&[u8], usize)> {
        let name = self.names.get(number).filter(|name| name.file != NONE)?;
        Some((self.text(name), name.file as usize))
    }

    /// Adds a path at the end, to be sorted later.
    pub fn push(&mut self, path: &[u8], file: usize) {
        let name = self.name(path, file);
        self.names.push(name);
    }

    /// # Panics
    /// There are more than 4 GiB of paths, or files, which a reader of trees refuses long before.
    fn name(&mut self, path: &[u8], file: usize) -> Name {
        let small = |number: usize| u32::try_from(number).expect("a tree has less than 2^32 of it");
        let start = small(self.bytes.len());
        self.bytes.extend(path);
        Name {
            start,
            length: small(path.len()),
            file: small(file),
        }
    }

    /// Brings what was pushed into order.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        let text = |name: &Name| &bytes[name.start as usize..][..name.length as usize];
        self.names
            .sort_unstable_by(|one, other| text(one).cmp(text(other)));
        self.names.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    fn place(&self, path: &[u8]) -> Result<usize, usize> {
        self.names
            .binary_search_by(|name| self.text(name).cmp(path))
    }

    /// The file at a path.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        let (_, file) = self.get(self.place(path).ok()?)?;
        Some(file)
    }

    /// Puts a file at a path, in place of what was there.
    pub fn insert(&mut self, path: &[u8], file: usize) {
        let place = self.place(path);
        let name = self.name(path, file);
        match place {
            Ok(at) => self.names[at] = name,
            Err(at) => self.names.insert(at, name),
        }
    }

    /// The numbers of a path and of what is in it, and of some that only begin alike.
    fn alike(&self, path: &[u8]) -> std::ops::Range<usize> {
        let (Ok(start) | Err(start)) = self.place(path);
        let alike = self.names[start..].partition_point(|name| self.text(name).starts_with(path));
        start..start + alike
    }

    /// A path and everything in it, as far as it is there.
    pub fn inside<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = (&[u8], usize)> + use<'_, 'p> {
        let paths = self.alike(path).filter_map(|number| self.get(number));
        paths.filter(move |(other, _)| is_in(path, other))
    }

    /// Takes a path away, and everything in it. Says whether there was anything.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        let mut any = false;
        for number in self.alike(path) {
            let name = self.names[number];
            if name.file != NONE && is_in(path, self.text(&name)) {
                self.names[number].file = NONE;
                any = true;
            }
        }
        any
    }
}

/// Whether a path that begins with another is that, or in it.
fn is_in(directory: &[u8], path: &[u8]) -> bool {
    directory == b"/" || matches!(path.get(directory.len()), None | Some(b'/'))
}
