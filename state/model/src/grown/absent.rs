//! Whether the value of a new field is the one that a reader takes when the field is not there.
//!
//! A serializer that writes nothing: values are compared without knowing their type.

use std::fmt::Display;

use serde::ser::{Error, Impossible, SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::Absent;

/// Whether `value` may be left out.
pub(super) fn is_absent<T: Serialize + ?Sized>(value: &T, as_if: Absent) -> bool {
    value.serialize(Is(as_if)) == Ok(())
}

/// Succeeds for that value only.
#[derive(Clone, Copy)]
struct Is(Absent);

/// It is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another value")]
struct Another;

impl Error for Another {
    fn custom<T: Display>(_reason: T) -> Self {
        Self
    }
}

impl Is {
    fn when(self, same: bool) -> Result<(), Another> {
        if same { Ok(()) } else { Err(Another) }
    }

    fn nothing(self) -> Result<(), Another> {
        self.when(self.0 == Absent::Nothing)
    }
}

macro_rules! numbers {
    ($($method:ident($kind:ty))*) => {$(
        fn $method(self, value: $kind) -> Result<(), Another> {
            self.when(self.0 == Absent::Number(value.into()))
        }
    )*};
}

macro_rules! others {
    ($($method:ident($kind:ty))*) => {$(
        fn $method(self, _value: $kind) -> Result<(), Another> {
            Err(Another)
        }
    )*};
}

impl Serializer for Is {
    type Ok = ();
    type Error = Another;
    type SerializeSeq = Empty;
    type SerializeTuple = Impossible<(), Another>;
    type SerializeTupleStruct = Impossible<(), Another>;
    type SerializeTupleVariant = Impossible<(), Another>;
    type SerializeMap = Empty;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Impossible<(), Another>;

    numbers! { serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) }

    others! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_f32(f32) serialize_f64(f64) serialize_char(char) serialize_bytes(&[u8])
        serialize_unit_struct(&'static str)
    }

    fn serialize_bool(self, value: bool) -> Result<(), Another> {
        self.when(self.0 == Absent::Nothing && !value)
    }

    fn serialize_str(self, value: &str) -> Result<(), Another> {
        self.when(self.0 == Absent::Nothing && value.is_empty())
    }

    fn serialize_none(self) -> Result<(), Another> {
        self.nothing()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<(), Another> {
        Err(Another)
    }

    fn serialize_unit(self) -> Result<(), Another> {
        Err(Another)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Another> {
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
    ) -> Result<(), Another> {
        Err(Another)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), Another> {
        Err(Another)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Empty, Another> {
        self.nothing().map(|()| Empty)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Empty, Another> {
        self.nothing().map(|()| Empty)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, Another> {
        Err(Another)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, Another> {
        Err(Another)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, Another> {
        Err(Another)
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStruct, Another> {
        match self.0 {
            Absent::Struct(fields) => Ok(Fields(fields.iter())),
            Absent::Nothing | Absent::Number(_) => Err(Another),
        }
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, Another> {
        Err(Another)
    }
}

/// A struct as long as its fields are these.
struct Fields(std::slice::Iter<'static, Absent>);

impl SerializeStruct for Fields {
    type Ok = ();
    type Error = Another;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _key: &'static str,
        value: &T,
    ) -> Result<(), Another> {
        self.0.next().map_or(Err(Another), |field| value.serialize(Is(*field)))
    }

    fn end(self) -> Result<(), Another> {
        Is(Absent::Nothing).when(self.0.len() == 0)
    }
}

/// A list or map as long as it has nothing in it.
struct Empty;

impl SerializeSeq for Empty {
    type Ok = ();
    type Error = Another;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, _value: &T) -> Result<(), Another> {
        Err(Another)
    }

    fn end(self) -> Result<(), Another> {
        Ok(())
    }
}

impl SerializeMap for Empty {
    type Ok = ();
    type Error = Another;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _key: &T) -> Result<(), Another> {
        Err(Another)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _value: &T) -> Result<(), Another> {
        Err(Another)
    }

    fn end(self) -> Result<(), Another> {
        Ok(())
    }
}
