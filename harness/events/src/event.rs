//! Events as templates: a name and arguments.

use serde_json::Value;
use toml::Value as Toml;

use crate::placeholder::{Captured, Placeholder, Values};
use crate::template::{Template, fit_args};
use crate::text::Text;

/// Names of events that Socket.IO keeps for itself: clients and servers refuse to emit them.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// An event that a client emits, with an acknowledgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Emit(Event);

/// An event that a client receives.
#[derive(Clone, Debug, PartialEq)]
pub struct Received(Event);

#[derive(Clone, Debug, PartialEq)]
struct Event {
    name: Text,
    args: Vec<Template>,
}

impl Emit {
    pub(crate) fn parse(value: &Toml, wanted: &[Placeholder]) -> Result<Emit, String> {
        Ok(Emit(Event::parse(value, wanted)?))
    }

    /// The event's name.
    pub fn name(&self, values: &Values<'_>) -> String {
        self.0.name.render(values)
    }

    /// The event's arguments.
    pub fn args(&self, values: &Values<'_>) -> Vec<Value> {
        self.0.args.iter().map(|arg| arg.render(values)).collect()
    }

    /// Whether `{text}` is the whole of each string in which it stands.
    pub fn has_text_alone(&self) -> bool {
        self.0.has_text_alone()
    }

    /// Name and arguments as one list: the data of a Socket.IO EVENT packet.
    pub fn data(&self, values: &Values<'_>) -> Value {
        let name = Value::String(self.name(values));
        std::iter::once(name).chain(self.args(values)).collect()
    }
}

impl Received {
    pub(crate) fn parse(value: &Toml, wanted: &[Placeholder]) -> Result<Received, String> {
        let event = Event::parse(value, wanted)?;
        check_one_place(std::iter::once(&event.name))?;
        check_one_place(event.args.iter().flat_map(Template::texts))?;
        Ok(Received(event))
    }

    /// Whether there is a place for the room.
    pub fn names_room(&self) -> bool {
        self.0.places().contains(&Placeholder::Room)
    }

    /// Whether there is a place for the id of a member.
    pub fn names_member(&self) -> bool {
        self.0.places().contains(&Placeholder::Member)
    }

    /// Whether `{text}` is the whole of the string in which it stands.
    pub fn has_text_alone(&self) -> bool {
        self.0.has_text_alone()
    }

    /// Whether an event of this name may fit, whatever its arguments.
    pub fn is_named(&self, name: &str) -> bool {
        self.0.name.fit(name, &mut Captured::default()).is_some()
    }

    /// What an event has in the places of this one; `None` if it does not fit.
    pub fn fit<'a>(&self, name: &'a str, args: &'a [Value]) -> Option<Captured<'a>> {
        let mut captured = Captured::default();
        self.0.name.fit(name, &mut captured)?;
        fit_args(&self.0.args, args, &mut captured)?;
        Some(captured)
    }

    /// The same for the data of a Socket.IO EVENT packet: name and arguments as one list.
    pub fn fit_data<'a>(&self, data: &'a Value) -> Option<Captured<'a>> {
        let (name, args) = data.as_array()?.split_first()?;
        self.fit(name.as_str()?, args)
    }
}

impl Event {
    fn parse(value: &Toml, wanted: &[Placeholder]) -> Result<Event, String> {
        let shape = "must be a list that begins with the name of the event";
        let (name, args) = value.as_array().and_then(|list| list.split_first()).ok_or(shape)?;
        let name = name.as_str().filter(|name| !name.is_empty()).ok_or(shape)?;
        if RESERVED.contains(&name) {
            return Err(format!("Socket.IO reserves the name {name:?} for itself"));
        }
        let name = Text::parse(name)?;
        let args = args.iter().map(Template::parse).collect::<Result<_, _>>()?;
        let event = Event { name, args };
        let places = event.places();
        match wanted.iter().find(|place| !places.contains(place)) {
            Some(place) => Err(format!("must contain {}", place.mark())),
            None => Ok(event),
        }
    }

    fn has_text_alone(&self) -> bool {
        let texts = self.args.iter().flat_map(Template::texts);
        let mut with_text = std::iter::once(&self.name)
            .chain(texts)
            .filter(|text| text.places().any(|place| place == Placeholder::Text));
        with_text.all(Text::is_place)
    }

    fn places(&self) -> Vec<Placeholder> {
        self.name.places().chain(self.args.iter().flat_map(Template::places)).collect()
    }
}

/// With two places in one string, what belongs to which is not known.
pub(crate) fn check_one_place<'a>(mut texts: impl Iterator<Item = &'a Text>) -> Result<(), String> {
    match texts.find(|text| text.places().count() > 1) {
        Some(text) => {
            let marks = Values { room: "{room}", text: "{text}", member: "{member}" };
            Err(format!("{:?} has more than one placeholder", text.render(&marks)))
        }
        None => Ok(()),
    }
}
