// SPDX-License-Identifier: Apache-2.0
//! What a route is: where a request comes in, what it takes and answers, and in which states. What carries it out is
//! in the table of [`crate::service`]. Pure.

use std::os::fd::OwnedFd;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::decode;
use crate::lines::Lines;
use crate::state::StateSet;
use crate::{Code, Fault, NewDevice, VmConfig, VmState};

/// Where all operations are.
pub const PREFIX: &str = "/api/v1";
/// The operation after which the server ends.
pub const VMM_SHUTDOWN: &str = "/api/v1/vmm.shutdown";

/// Methods that the table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Looks, changes nothing.
    Get,
    /// Does something.
    Put,
}

impl Method {
    /// As in a request line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
        }
    }
}

/// Where a request is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// At once, on the server's thread: it cannot wait.
    Inline,
    /// On a worker, beside others.
    Look,
    /// On a worker, one after the other.
    Change,
}

/// Example of a body: what it shows, and the JSON.
pub type Example = (&'static str, &'static str);

/// A type of a body: its schema, and a way to try examples on it.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Name of the type, as in the OpenAPI document.
    pub name: fn() -> String,
    /// Its schema.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Decodes a value as the server would, and encodes it again.
    pub round_trip: fn(Value) -> Result<Value, Fault>,
    /// Examples.
    pub examples: &'static [Example],
}

impl Body {
    pub(crate) const fn of<T: JsonSchema + Serialize + DeserializeOwned + 'static>(
        examples: &'static [Example],
    ) -> Self {
        Self {
            name: || T::schema_name().into_owned(),
            schema: SchemaGenerator::subschema_for::<T>,
            round_trip: |value| encode(&decode::typed::<T>(value)?),
            examples,
        }
    }

    /// As [`Body::of`], and takes Cloud Hypervisor's fields.
    pub(crate) const fn config(examples: &'static [Example]) -> Self {
        Self { round_trip: |value| encode(&decode::config(value)?), ..Self::of::<VmConfig>(examples) }
    }
}

impl Body {
    /// As [`Body::of`] for [`NewDevice`], decoded by its fields.
    pub(crate) const fn device(examples: &'static [Example]) -> Self {
        Self {
            name: || NewDevice::schema_name().into_owned(),
            schema: SchemaGenerator::subschema_for::<NewDevice>,
            round_trip: |value| encode(&decode::device(value)?),
            examples,
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|error| Fault::from_error(Code::Internal, &error))
}

/// A query parameter; all are optional.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Name.
    pub name: &'static str,
    /// Meaning.
    pub text: &'static str,
    /// An example.
    pub example: &'static str,
}

/// What a route takes.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// The body, where there is one.
    pub body: Option<Body>,
    /// Parameters.
    pub parameters: &'static [Parameter],
    /// Whether file descriptors may come along.
    pub descriptors: bool,
}

/// What a reply carries.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Nothing.
    Empty,
    /// JSON of a type.
    Json(Body),
    /// Any JSON object.
    Document,
    /// Text of this media type.
    Text(&'static str),
    /// JSON objects of a type, one a line, without an end.
    Lines(Body),
}

/// A reply that is not a fault.
#[derive(Clone, Copy, Debug)]
pub struct Success {
    /// Status.
    pub status: u16,
    /// When.
    pub text: &'static str,
    /// What it carries.
    pub content: Content,
}

impl Success {
    pub(crate) const fn ok(text: &'static str, content: Content) -> Self {
        Self { status: 200, text, content }
    }
}

/// What a handler makes.
pub enum Reply {
    /// 204.
    Empty,
    /// 200 with JSON.
    Json(Vec<u8>),
    /// 200 with the OpenAPI document, which is made of the whole table.
    Document,
    /// 200 with text of a media type.
    Text(&'static str, String),
    /// 200 with lines.
    Lines(Box<dyn Lines>),
}

/// A request, as handlers see it.
#[derive(Debug, Default)]
pub struct Call {
    /// Body.
    pub body: Vec<u8>,
    /// Query, without the question mark.
    pub query: String,
    /// What came with it by SCM_RIGHTS.
    pub descriptors: Vec<OwnedFd>,
}

/// What documents say of a route.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// operationId of the OpenAPI document.
    pub operation: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The rest.
    pub text: &'static str,
}

/// What a route answers.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Replies.
    pub successes: &'static [Success],
    /// Faults of its own, beyond those that [`Route::codes`] adds.
    pub faults: &'static [Code],
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path from the root of the server.
    pub path: &'static str,
    /// What documents say of it.
    pub words: Words,
    /// What it takes.
    pub input: Input,
    /// What it answers.
    pub output: Output,
    states: StateSet,
    lane: Lane,
}

const NOTHING: Input = Input { body: None, parameters: &[], descriptors: false };
const DONE: &[Success] = &[Success { status: 204, text: "Done.", content: Content::Empty }];

/// Definitions begin with `change` or `look`, and say what differs from that.
impl Route {
    /// Changes something, in any state, takes nothing and answers nothing.
    pub(crate) const fn change(path: &'static str, operation: &'static str, summary: &'static str) -> Self {
        Self {
            method: Method::Put,
            path,
            words: Words { operation, summary, text: "" },
            input: NOTHING,
            output: Output { successes: DONE, faults: &[] },
            states: StateSet::ANY,
            lane: Lane::Change,
        }
    }

    /// Looks, in any state, takes nothing, and answers this.
    pub(crate) const fn look(
        path: &'static str,
        operation: &'static str,
        summary: &'static str,
        successes: &'static [Success],
    ) -> Self {
        Self { method: Method::Get, lane: Lane::Look, ..Self::change(path, operation, summary).answers(successes) }
    }

    /// Cannot wait, so it needs no worker.
    pub(crate) const fn at_once(self) -> Self {
        Self { lane: Lane::Inline, ..self }
    }

    /// More about it, for documents.
    pub(crate) const fn says(self, text: &'static str) -> Self {
        Self { words: Words { text, ..self.words }, ..self }
    }

    /// Works only in these states.
    pub(crate) const fn when(self, states: StateSet) -> Self {
        Self { states, ..self }
    }

    /// Takes this body.
    pub(crate) const fn takes(self, body: Body) -> Self {
        Self { input: Input { body: Some(body), ..self.input }, ..self }
    }

    /// Takes file descriptors.
    pub(crate) const fn takes_descriptors(self) -> Self {
        Self { input: Input { descriptors: true, ..self.input }, ..self }
    }

    /// Takes these parameters.
    pub(crate) const fn asks(self, parameters: &'static [Parameter]) -> Self {
        Self { input: Input { parameters, ..self.input }, ..self }
    }

    /// Answers this.
    pub(crate) const fn answers(self, successes: &'static [Success]) -> Self {
        Self { output: Output { successes, ..self.output }, ..self }
    }

    /// Has these faults of its own.
    pub(crate) const fn fails(self, faults: &'static [Code]) -> Self {
        Self { output: Output { faults, ..self.output }, ..self }
    }
}

/// Faults that the server may answer on every route.
const EVERYWHERE: [Code; 6] = [
    Code::MalformedRequest,
    Code::InvalidDescriptors,
    Code::BodyTooLarge,
    Code::RequestTimeout,
    Code::Busy,
    Code::HeadTooLarge,
];
/// Faults of routes that run on a worker.
const OF_WORKERS: [Code; 3] = [Code::Internal, Code::Unavailable, Code::DeadlineExceeded];

impl Route {
    /// States in which it works.
    pub fn states(&self) -> StateSet {
        self.states
    }

    /// Where it runs.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Every code it may answer, in order of status.
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = [self.output.faults, &EVERYWHERE].concat();
        // Parameters, and bodies where there should be none.
        codes.push(Code::InvalidField);
        if self.input.body.is_some() {
            codes.push(Code::MalformedJson);
        }
        if !self.states.contains(VmState::NotCreated) {
            codes.push(Code::VmNotCreated);
        }
        if VmState::ALL.iter().any(|s| *s != VmState::NotCreated && !self.states.contains(*s)) {
            codes.push(self.wrong_state());
        }
        if self.lane != Lane::Inline {
            codes.extend(OF_WORKERS);
        }
        codes.sort_by_key(|code| (code.status(), *code));
        codes.dedup();
        codes
    }

    /// The code for a state that does not fit.
    fn wrong_state(&self) -> Code {
        let wants_none = self.states.contains(VmState::NotCreated);
        if wants_none { Code::VmAlreadyCreated } else { Code::WrongState }
    }

    /// Whether it works in `state`.
    ///
    /// # Errors
    /// The 404 or 409 that says so.
    pub fn check_state(&self, state: VmState) -> Result<(), Fault> {
        if self.states.contains(state) {
            return Ok(());
        }
        let name = self.name();
        Err(match (state, self.wrong_state()) {
            (VmState::NotCreated, _) => {
                Fault::new(Code::VmNotCreated, format!("{name}: there is no virtual machine: make one with vm.create"))
            }
            (_, code @ Code::VmAlreadyCreated) => {
                Fault::new(code, format!("{name}: there is a virtual machine already ({state}): vm.delete removes it"))
            }
            (_, code) => {
                let message = format!("{name}: the virtual machine is {state}; this works when it is {}", self.states);
                Fault::new(code, message)
            }
        })
    }

    /// The last part of the path: `vm.boot`.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}
