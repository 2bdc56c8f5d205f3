//! The fuzzer's bytes as a row of choices. Total: behind the end everything is 0.

/// What is left of them.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes as a number.
    pub fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// So many bytes, or what is left.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A length and as many bytes: the form in which seeds write them too.
    pub fn chunk(&mut self) -> &'a [u8] {
        let n = self.number();
        self.take(usize::from(n))
    }
}

/// Bytes as [`Input::chunk`] reads them; what does not fit is left out.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let n = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut out = n.to_le_bytes().to_vec();
    out.extend(bytes.iter().take(usize::from(n)));
    out
}
