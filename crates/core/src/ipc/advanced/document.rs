//! A whole message: a value and the objects it reaches.

use super::{Array, JsString, Key, Object, ObjectId, Value, View, ViewBytes, ViewKind};

/// A JavaScript value with everything it refers to.
///
/// The objects stand side by side and know each other by number. That makes
/// cycles natural, and reading, comparing and dropping free of recursion.
///
/// Two documents are equal if the same JavaScript values hang together in the
/// same way (see [`Value`] for numbers); how they are numbered does not matter.
#[derive(Debug, Clone, Default)]
pub struct Document {
    pub(super) root: Value,
    pub(super) objects: Vec<Object>,
}

impl Document {
    /// The document of that value, which is no object.
    #[must_use]
    pub fn new(root: impl Into<Value>) -> Self {
        Self {
            root: root.into(),
            objects: Vec::new(),
        }
    }

    /// What is sent.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Says what is sent. Objects that it does not reach stay, but are not written.
    pub fn set_root(&mut self, root: impl Into<Value>) {
        self.root = root.into();
    }

    /// All objects; the first has the number 0.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The object of that number.
    #[must_use]
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(id.index())
    }

    /// The object of that number, to change it: this is how cycles are made.
    pub fn object_mut(&mut self, id: ObjectId) -> Option<&mut Object> {
        self.objects.get_mut(id.index())
    }

    /// Adds an object and returns its number.
    ///
    /// # Panics
    ///
    /// If there are 2^32 of them already: more than the wire can number.
    pub fn add(&mut self, object: Object) -> ObjectId {
        let id =
            u32::try_from(self.objects.len()).expect("a document numbers fewer than 2^32 objects");
        self.objects.push(object);
        ObjectId(id)
    }

    /// Adds an object with these properties.
    pub fn add_object<K: Into<Key>, V: Into<Value>>(
        &mut self,
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Value {
        let object = properties.into_iter().collect();
        self.add(object).into()
    }

    /// Adds an array of these values.
    pub fn add_array<V: Into<Value>>(&mut self, items: impl IntoIterator<Item = V>) -> Value {
        let array = Array {
            items: items.into_iter().map(|item| Some(item.into())).collect(),
            ..Array::default()
        };
        self.add(Object::Array(array)).into()
    }

    /// Adds a Node `Buffer` of these bytes.
    pub fn add_buffer(&mut self, bytes: impl Into<Vec<u8>>) -> Value {
        let view = View {
            kind: ViewKind::Buffer,
            bytes: ViewBytes::Own(bytes.into()),
        };
        self.add(Object::View(view)).into()
    }

    /// Takes over another document and returns its root, to be put somewhere in this one.
    ///
    /// # Panics
    ///
    /// If both together have 2^32 objects or more.
    pub fn graft(&mut self, mut other: Self) -> Value {
        let total = self.objects.len() + other.objects.len();
        assert!(
            u32::try_from(total).is_ok(),
            "a document numbers fewer than 2^32 objects"
        );
        let shift = u32::try_from(self.objects.len()).expect("not above the total");
        let moved = |id: &mut ObjectId| id.0 = id.0.saturating_add(shift);
        for object in &mut other.objects {
            object.for_each_id(moved);
        }
        self.objects.append(&mut other.objects);
        if let Value::Object(id) = &mut other.root {
            moved(id);
        }
        other.root
    }

    /// The root, to look further from.
    #[must_use]
    pub fn view(&self) -> ValueRef<'_> {
        self.view_of(&self.root)
    }

    /// A value of this document, to look further from.
    #[must_use]
    pub fn view_of<'a>(&'a self, value: &'a Value) -> ValueRef<'a> {
        ValueRef {
            document: self,
            value,
        }
    }

    /// The root's property of that name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.object(self.root.as_object()?)?.get(key)
    }

    /// The bytes that a view or an `ArrayBuffer` shows.
    #[must_use]
    pub fn bytes(&self, id: ObjectId) -> Option<&[u8]> {
        match self.object(id)? {
            Object::ArrayBuffer(buffer) => Some(&buffer.bytes),
            Object::View(view) => self.view_bytes(view),
            Object::Plain(_) | Object::Array(_) | Object::Sparse(_) | Object::Map(_) => None,
            Object::Set(_) | Object::Date(_) | Object::RegExp(_) | Object::Boxed(_) => None,
            Object::Error(_) | Object::Native(_) => None,
        }
    }

    /// What the view shows; nothing if its buffer is none or too short.
    pub(super) fn view_bytes<'a>(&'a self, view: &'a View) -> Option<&'a [u8]> {
        let (buffer, offset, length, tracks_length) = match &view.bytes {
            ViewBytes::Own(bytes) => return Some(bytes),
            ViewBytes::Of {
                buffer,
                offset,
                length,
                tracks_length,
                ..
            } => (*buffer, *offset as usize, *length as usize, *tracks_length),
        };
        let Some(Object::ArrayBuffer(buffer)) = self.object(buffer) else {
            return None;
        };
        let rest = buffer.bytes.get(offset..)?;
        if tracks_length {
            let size = view.kind.element_size();
            return rest.get(..rest.len() / size * size);
        }
        rest.get(..length)
    }
}

/// A value with its document, to look into it step by step.
///
/// ```
/// # use procession_core::ipc::advanced::Document;
/// # let mut document = Document::default();
/// # let inner = document.add_array([1, 2]);
/// # let root = document.add_object([("list", inner)]);
/// # document.set_root(root);
/// // { list: [1, 2] }
/// let second = document.view().get("list").and_then(|list| list.get("1"));
/// assert_eq!(second.and_then(|value| value.value().as_f64()), Some(2.0));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ValueRef<'a> {
    document: &'a Document,
    value: &'a Value,
}

impl<'a> ValueRef<'a> {
    /// The value.
    #[must_use]
    pub fn value(self) -> &'a Value {
        self.value
    }

    /// The object that it is.
    #[must_use]
    pub fn object(self) -> Option<&'a Object> {
        self.document.object(self.value.as_object()?)
    }

    /// Its property, element (`"0"`) or `Map` entry of that name.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Self> {
        let value = self.object()?.get(key)?;
        Some(Self { value, ..self })
    }

    /// The text that it is.
    #[must_use]
    pub fn as_str(self) -> Option<std::borrow::Cow<'a, str>> {
        self.value.as_js_string().map(JsString::to_str)
    }

    /// The number that it is.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        self.value.as_f64()
    }

    /// The bytes that it is: of a `Buffer`, another view or an `ArrayBuffer`.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        self.document.bytes(self.value.as_object()?)
    }
}
