//! Protobuf: messages as proto3's JSON, <https://protobuf.dev/programming-guides/json/>.
//!
//! Before the message stands which one of the schema's it is: the places of the message and of the
//! messages that it is declared in, as zigzag varints after their number; a single zero is the
//! schema's first message.

use crate::{
    bounded::Bounded,
    schema::{Invalid, Reference},
    zigzag,
};
use base64_simd::STANDARD;
use prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FileDescriptor, MessageDescriptor, prost_types::FileDescriptorProto,
};
use protox::{
    Compiler, Error,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use serde_json::Value;
use serde_path_to_error::{Deserializer, Track};

/// The schema's own name among the files; the registry tells none.
const OWN: &str = "schema.proto";
/// Messages in messages, at most.
const DEPTH: usize = 32;

#[derive(Debug)]
pub struct Protobuf(FileDescriptor);

/// The texts that the registry gave, by the names they are imported by.
struct Texts(Vec<Reference>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let text = self.0.iter().find(|reference| reference.name == name);
        let text = &text.ok_or_else(|| Error::file_not_found(name))?.text;
        // Some clients register a descriptor, in base64, instead of a text.
        match STANDARD.decode_to_vec(text.trim()) {
            Ok(descriptor) => {
                let mut file = FileDescriptorProto::decode(&*descriptor).map_err(Error::new)?;
                file.name = Some(name.to_owned());
                Ok(File::from_file_descriptor_proto(file))
            }
            Err(_) => File::from_source(name, text),
        }
    }
}

impl Protobuf {
    pub fn compile(text: &str, references: &[Reference]) -> Result<Self, Invalid> {
        let mut texts = references.to_vec();
        texts.push(Reference { name: OWN.to_owned(), text: text.to_owned() });
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(texts));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file(OWN).map_err(Invalid::new)?;
        let file = compiler.descriptor_pool().get_file_by_name(OWN);
        file.map(Self).ok_or_else(|| Invalid::new("the schema was not compiled"))
    }

    pub fn decode(&self, body: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut body = body;
        let descriptor = self.message(&places(&mut body)?)?;
        let message = DynamicMessage::decode(descriptor, body).map_err(Invalid::new)?;
        let mut json = Bounded::default();
        serde_json::to_writer(&mut json, &message).map_err(Invalid::new)?;
        Ok(json.text)
    }

    pub fn encode(&self, value: &Value, bytes: &mut Vec<u8>) -> Result<(), Invalid> {
        let descriptor = self.message(&[0])?;
        // What the schema does not know would be lost without a word.
        let options = DeserializeOptions::new().deny_unknown_fields(true);
        let mut track = Track::new();
        let named = Deserializer::new(value, &mut track);
        let message = DynamicMessage::deserialize_with_options(descriptor, named, &options);
        let message = message.map_err(|error| Invalid(format!("{}: {error}", track.path())))?;
        bytes.push(0);
        message.encode(bytes).map_err(Invalid::new)
    }

    fn message(&self, places: &[usize]) -> Result<MessageDescriptor, Invalid> {
        let (first, inner) = places.split_first().ok_or_else(|| Invalid::new("no message is named"))?;
        let outer = self.0.messages().nth(*first);
        // A map has a message of its own for its entries, which nobody declared.
        let declared = |message: MessageDescriptor, place: usize| {
            message.child_messages().filter(|inner| !inner.is_map_entry()).nth(place)
        };
        let found = inner.iter().fold(outer, |message, place| declared(message?, *place));
        found.ok_or_else(|| Invalid(format!("the schema has no message at {places:?}")))
    }
}

/// The places that the body begins with.
fn places(body: &mut &[u8]) -> Result<Vec<usize>, Invalid> {
    let mut next = || {
        let number = zigzag::take(body).map_err(Invalid::new)?;
        usize::try_from(number).map_err(|_| Invalid(format!("{number} is no message's place")))
    };
    match next()? {
        0 => Ok(vec![0]),
        count if count <= DEPTH => (0..count).map(|_| next()).collect(),
        count => Err(Invalid(format!("a message {count} messages deep is not looked for"))),
    }
}
