//! The attributes of a message, the last value by name: a dozen as a rule, in one piece of memory.

/// Room for what smtpd sends with a message.
const USUAL_TEXT: usize = 1024;
/// Attributes that smtpd sends with a message, and some.
const USUAL_COUNT: usize = 16;

/// Attributes in the order in which they were set.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Names and values, one behind the other.
    text: Vec<u8>,
    places: Vec<Place>,
}

/// Where an attribute is in the text.
#[derive(Debug, Clone, Copy)]
struct Place {
    name: usize,
    value: usize,
    end: usize,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { text: Vec::with_capacity(USUAL_TEXT), places: Vec::with_capacity(USUAL_COUNT) }
    }
}

impl Attributes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The value of an attribute.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let place = self.places.get(self.position(name)?)?;
        self.text.get(place.value..place.end)
    }

    /// Sets an attribute. Of a value that it had before nothing stays, so that the memory is that of the values.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        if let Some(at) = self.position(name) {
            let old = self.places.remove(at);
            self.text.drain(old.name..old.end);
            let length = old.end - old.name;
            for place in self.places.iter_mut().skip(at) {
                place.name -= length;
                place.value -= length;
                place.end -= length;
            }
        }
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.places.push(Place { name: start, value: start + name.len(), end: self.text.len() });
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        // Most names differ in length.
        let is_it = |place: &Place| {
            place.value - place.name == name.len() && self.text.get(place.name..place.value) == Some(name)
        };
        self.places.iter().position(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts() {
        let mut attributes = Attributes::default();
        for (name, value) in
            [("a", "1"), ("ab", "22"), ("b", ""), ("a", "333"), ("b", "4"), ("ab", "5"), ("c", "6")]
        {
            attributes.set(name.as_bytes(), value.as_bytes());
            assert_eq!(attributes.get(name.as_bytes()), Some(value.as_bytes()));
        }
        assert_eq!(attributes.count(), 4);
        for (name, value) in
            [("a", Some("333")), ("ab", Some("5")), ("b", Some("4")), ("c", Some("6")), ("", None)]
        {
            assert_eq!(attributes.get(name.as_bytes()), value.map(str::as_bytes), "{name}");
        }
        assert_eq!(attributes.text, b"a333b4ab5c6");
    }
}
