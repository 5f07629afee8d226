//! Whether two documents say the same, cycles included.

use super::value::same_number;
use super::{Boxed, Document, Key, Object, ObjectId, Properties, Value, View, ViewBytes};

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        Comparison {
            pairs: (
                vec![None; self.objects.len()],
                vec![None; other.objects.len()],
            ),
            left: Vec::new(),
        }
        .documents(self, other)
    }
}

struct Comparison {
    /// Which object stands for which, in both directions: what is shared here is shared there.
    pairs: (Vec<Option<ObjectId>>, Vec<Option<ObjectId>>),
    /// Objects that are yet to be compared.
    left: Vec<(ObjectId, ObjectId)>,
}

impl Comparison {
    fn documents(mut self, one: &Document, other: &Document) -> bool {
        if !self.values(&one.root, &other.root) {
            return false;
        }
        while let Some((id, other_id)) = self.left.pop() {
            let same = match (one.object(id), other.object(other_id)) {
                (Some(object), Some(other_object)) => self.objects(object, other_object),
                (one, other) => one.is_none() && other.is_none(),
            };
            if !same {
                return false;
            }
        }
        true
    }

    fn values(&mut self, one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Object(one), Value::Object(other)) => self.ids(*one, *other),
            (one, other) => one == other,
        }
    }

    fn ids(&mut self, one: ObjectId, other: ObjectId) -> bool {
        let (Some(there), Some(back)) = (
            self.pairs.0.get_mut(one.index()),
            self.pairs.1.get_mut(other.index()),
        ) else {
            return false;
        };
        if there.is_none() && back.is_none() {
            (*there, *back) = (Some(other), Some(one));
            self.left.push((one, other));
        }
        *there == Some(other)
    }

    fn objects(&mut self, one: &Object, other: &Object) -> bool {
        match (one, other) {
            (Object::Plain(one), Object::Plain(other)) => self.properties(one, other),
            (Object::Array(one), Object::Array(other)) => {
                one.items.len() == other.items.len()
                    && one.items.iter().zip(&other.items).all(|pair| match pair {
                        (Some(one), Some(other)) => self.values(one, other),
                        (one, other) => one.is_none() && other.is_none(),
                    })
                    && self.properties(&one.extra, &other.extra)
            }
            (Object::Sparse(one), Object::Sparse(other)) => {
                one.length == other.length && self.properties(&one.properties, &other.properties)
            }
            (Object::Map(one), Object::Map(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|((key, value), (other_key, other_value))| {
                            self.values(key, other_key) && self.values(value, other_value)
                        })
            }
            (Object::Set(one), Object::Set(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|(one, other)| self.values(one, other))
            }
            (Object::Error(one), Object::Error(other)) => {
                (one.name, &one.message, &one.stack) == (other.name, &other.message, &other.stack)
                    && match (&one.cause, &other.cause) {
                        (Some(one), Some(other)) => self.values(one, other),
                        (one, other) => one.is_none() && other.is_none(),
                    }
            }
            (Object::View(one), Object::View(other)) => self.views(one, other),
            (Object::Native(one), Object::Native(other)) => self.values(one, other),
            (one, other) => leaves(one, other),
        }
    }

    fn properties(&mut self, one: &Properties, other: &Properties) -> bool {
        let same = |(key, value): &(Key, Value), (other_key, other_value): &(Key, Value)| {
            key == other_key && self.values(value, other_value)
        };
        let mut pairs = one.iter().zip(other);
        let mut same = same;
        one.len() == other.len() && pairs.all(|(one, other)| same(one, other))
    }

    fn views(&mut self, one: &View, other: &View) -> bool {
        one.kind == other.kind
            && match (&one.bytes, &other.bytes) {
                (ViewBytes::Own(one), ViewBytes::Own(other)) => one == other,
                (
                    ViewBytes::Of {
                        buffer,
                        offset,
                        length,
                        tracks_length,
                        resizable,
                    },
                    ViewBytes::Of {
                        buffer: other_buffer,
                        offset: other_offset,
                        length: other_length,
                        tracks_length: other_tracks,
                        resizable: other_resizable,
                    },
                ) => {
                    (offset, length, tracks_length, resizable)
                        == (other_offset, other_length, other_tracks, other_resizable)
                        && self.ids(*buffer, *other_buffer)
                }
                (ViewBytes::Own(_), ViewBytes::Of { .. })
                | (ViewBytes::Of { .. }, ViewBytes::Own(_)) => false,
            }
    }
}

/// Objects that hold no others.
fn leaves(one: &Object, other: &Object) -> bool {
    match (one, other) {
        (Object::Date(one), Object::Date(other)) => same_number(*one, *other),
        (Object::RegExp(one), Object::RegExp(other)) => one == other,
        (Object::Boxed(Boxed::Number(one)), Object::Boxed(Boxed::Number(other))) => {
            same_number(*one, *other)
        }
        (Object::Boxed(one), Object::Boxed(other)) => one == other,
        (Object::ArrayBuffer(one), Object::ArrayBuffer(other)) => one == other,
        (Object::Plain(_) | Object::Array(_) | Object::Sparse(_) | Object::Map(_), _)
        | (Object::Set(_) | Object::Date(_) | Object::RegExp(_) | Object::Boxed(_), _)
        | (Object::Error(_) | Object::ArrayBuffer(_) | Object::View(_) | Object::Native(_), _) => {
            false
        }
    }
}
