//! Writes values as a format has them, the former one where that leaves nothing out.

use std::fmt::Display;

use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

use super::absent::is_absent;
use super::{Format, NEW_WORD, default_of, is_new_variant};

/// A value as a format has it. To write it in the former one fails when what is new says anything.
#[derive(Debug)]
pub struct Worded<'v, T: ?Sized> {
    format: Format,
    value: &'v T,
}

impl<'v, T: ?Sized> Worded<'v, T> {
    /// `value` in `format`.
    pub fn new(format: Format, value: &'v T) -> Self {
        Self { format, value }
    }
}

impl<T: Serialize + ?Sized> Serialize for Worded<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Part { inner: to, format: self.format })
    }
}

/// Why the former format does not do.
fn says_more<E: Error>(of: impl Display) -> E {
    E::custom(format_args!("the former format has no words for {of}"))
}

/// A serializer of values, or of the parts of one, that writes them in that format.
struct Part<T> {
    inner: T,
    format: Format,
}

/// What comes next, in that format.
fn part<T>(format: Format) -> impl FnOnce(T) -> Part<T> {
    move |inner| Part { inner, format }
}

/// The same for the fields of a struct (or of a variant of an enum).
struct Fields<T> {
    inner: T,
    format: Format,
    name: &'static str,
    /// Whether a new field went by: only new ones follow.
    grown: bool,
}

macro_rules! plain {
    ($($method:ident($kind:ty))*) => {$(
        fn $method(self, value: $kind) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

impl<S: Serializer> Serializer for Part<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Part<S::SerializeSeq>;
    type SerializeTuple = Part<S::SerializeTuple>;
    type SerializeTupleStruct = Part<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Part<S::SerializeTupleVariant>;
    type SerializeMap = Part<S::SerializeMap>;
    type SerializeStruct = Fields<S::SerializeStruct>;
    type SerializeStructVariant = Fields<S::SerializeStructVariant>;

    plain! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_i128(i128) serialize_u8(u8) serialize_u16(u16)
        serialize_u32(u32) serialize_u64(u64) serialize_u128(u128) serialize_f32(f32)
        serialize_f64(f64) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_unit_struct(&'static str)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Worded::new(self.format, value))
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        if name == NEW_WORD && self.format == Format::Former {
            return Err(says_more("a new word"));
        }
        self.inner.serialize_newtype_struct(name, &Worded::new(self.format, value))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        refuse_new(self.format, name, variant)?;
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        refuse_new(self.format, name, variant)?;
        self.inner.serialize_newtype_variant(name, index, variant, &Worded::new(self.format, value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.inner.serialize_seq(len).map(part(self.format))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.inner.serialize_tuple(len).map(part(self.format))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.inner.serialize_tuple_struct(name, len).map(part(self.format))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        refuse_new(self.format, name, variant)?;
        self.inner.serialize_tuple_variant(name, index, variant, len).map(part(self.format))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.inner.serialize_map(len).map(part(self.format))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        let Self { inner, format } = self;
        let inner = inner.serialize_struct(name, len)?;
        Ok(Fields { inner, format, name, grown: false })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        refuse_new(self.format, name, variant)?;
        let Self { inner, format } = self;
        let inner = inner.serialize_struct_variant(name, index, variant, len)?;
        Ok(Fields { inner, format, name, grown: false })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

fn refuse_new<E: Error>(
    format: Format,
    name: &'static str,
    variant: &'static str,
) -> Result<(), E> {
    match format {
        Format::Former if is_new_variant(name, variant) => {
            Err(says_more(format_args!("{name}::{variant}")))
        }
        Format::Former | Format::Newest => Ok(()),
    }
}

macro_rules! parts {
    ($($part:ident $method:ident)*) => {$(
        impl<S: $part> $part for Part<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.inner.$method(&Worded::new(self.format, value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

parts! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

impl<S: SerializeMap> SerializeMap for Part<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(&Worded::new(self.format, key))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.inner.serialize_value(&Worded::new(self.format, value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

macro_rules! fields {
    ($($part:ident)*) => {$(
        impl<S: $part> $part for Fields<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let absent = match self.format {
                    Format::Former => default_of(self.name, key),
                    Format::Newest => None,
                };
                self.grown |= absent.is_some();
                match absent {
                    None if !self.grown => {
                        self.inner.serialize_field(key, &Worded::new(self.format, value))
                    }
                    Some(as_if) if is_absent(value, as_if) => Ok(()),
                    None | Some(_) => Err(says_more(format_args!("{}.{key}", self.name))),
                }
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }
