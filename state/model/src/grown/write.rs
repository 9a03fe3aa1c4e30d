//! Writes values as the former format had them, where that leaves nothing out.

use std::fmt::Display;

use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

use super::absent::is_absent;
use super::{Former, NEW_WORD, default_of, is_new_variant};

impl<T: Serialize + ?Sized> Serialize for Former<&T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Old(to))
    }
}

/// Why the former format does not do.
fn says_more<E: Error>(of: impl Display) -> E {
    E::custom(format_args!("the former format has no words for {of}"))
}

/// A serializer of values, or of the parts of one, that writes them in the former format.
struct Old<T>(T);

/// The same for the fields of a struct (or of a variant of an enum).
struct OldFields<T> {
    inner: T,
    name: &'static str,
    /// Whether a new field went by: only new ones follow.
    grown: bool,
}

macro_rules! plain {
    ($($method:ident($kind:ty))*) => {$(
        fn $method(self, value: $kind) -> Result<S::Ok, S::Error> {
            self.0.$method(value)
        }
    )*};
}

impl<S: Serializer> Serializer for Old<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Old<S::SerializeSeq>;
    type SerializeTuple = Old<S::SerializeTuple>;
    type SerializeTupleStruct = Old<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Old<S::SerializeTupleVariant>;
    type SerializeMap = Old<S::SerializeMap>;
    type SerializeStruct = OldFields<S::SerializeStruct>;
    type SerializeStructVariant = OldFields<S::SerializeStructVariant>;

    plain! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_i128(i128) serialize_u8(u8) serialize_u16(u16)
        serialize_u32(u32) serialize_u64(u64) serialize_u128(u128) serialize_f32(f32)
        serialize_f64(f64) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_unit_struct(&'static str)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Former(value))
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        if name == NEW_WORD {
            return Err(says_more("a new word"));
        }
        self.0.serialize_newtype_struct(name, &Former(value))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        refuse_new(name, variant)?;
        self.0.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        refuse_new(name, variant)?;
        self.0.serialize_newtype_variant(name, index, variant, &Former(value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.0.serialize_seq(len).map(Old)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.0.serialize_tuple(len).map(Old)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.0.serialize_tuple_struct(name, len).map(Old)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        refuse_new(name, variant)?;
        self.0.serialize_tuple_variant(name, index, variant, len).map(Old)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.0.serialize_map(len).map(Old)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.0.serialize_struct(name, len).map(|inner| OldFields { inner, name, grown: false })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        refuse_new(name, variant)?;
        let inner = self.0.serialize_struct_variant(name, index, variant, len)?;
        Ok(OldFields { inner, name, grown: false })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

fn refuse_new<E: Error>(name: &'static str, variant: &'static str) -> Result<(), E> {
    if is_new_variant(name, variant) {
        return Err(says_more(format_args!("{name}::{variant}")));
    }
    Ok(())
}

macro_rules! parts {
    ($($part:ident $method:ident)*) => {$(
        impl<S: $part> $part for Old<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&Former(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
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

impl<S: SerializeMap> SerializeMap for Old<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(&Former(key))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Former(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

macro_rules! fields {
    ($($part:ident)*) => {$(
        impl<S: $part> $part for OldFields<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let absent = default_of(self.name, key);
                self.grown |= absent.is_some();
                match absent {
                    None if !self.grown => self.inner.serialize_field(key, &Former(value)),
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
