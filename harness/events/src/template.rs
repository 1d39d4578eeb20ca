//! A JSON value with places in it.

use serde_json::{Map, Number, Value};
use toml::Value as Toml;

use crate::placeholder::{Captured, Placeholder, Values};
use crate::text::Text;

/// A JSON value with places in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Template {
    Text(Text),
    /// A number or a boolean.
    Literal(Value),
    Object(Vec<(String, Template)>),
    List(Vec<Template>),
}

impl Template {
    pub fn parse(value: &Toml) -> Result<Template, String> {
        Ok(match value {
            Toml::String(text) => Template::Text(Text::parse(text)?),
            Toml::Integer(number) => Template::Literal((*number).into()),
            Toml::Float(number) => {
                let number = Number::from_f64(*number);
                Template::Literal(number.ok_or("JSON has no such number")?.into())
            }
            Toml::Boolean(is_true) => Template::Literal((*is_true).into()),
            Toml::Datetime(time) => return Err(format!("JSON has no time: write \"{time}\"")),
            Toml::Array(items) => {
                Template::List(items.iter().map(Template::parse).collect::<Result<_, _>>()?)
            }
            Toml::Table(members) => {
                let parse = |(key, value): (&String, &Toml)| {
                    let template = Template::parse(value);
                    Ok((key.clone(), template.map_err(|why| format!("{key}: {why}"))?))
                };
                Template::Object(members.iter().map(parse).collect::<Result<_, String>>()?)
            }
        })
    }

    /// Every string, in order.
    pub fn texts(&self) -> Vec<&Text> {
        match self {
            Template::Text(text) => vec![text],
            Template::Literal(_) => Vec::new(),
            Template::Object(members) => members.iter().flat_map(|(_, t)| t.texts()).collect(),
            Template::List(items) => items.iter().flat_map(Template::texts).collect(),
        }
    }

    pub fn places(&self) -> Vec<Placeholder> {
        self.texts().into_iter().flat_map(Text::places).collect()
    }

    pub fn render(&self, values: &Values<'_>) -> Value {
        match self {
            Template::Text(text) => text.render(values).into(),
            Template::Literal(value) => value.clone(),
            Template::Object(members) => {
                let render =
                    |(key, template): &(String, Template)| (key.clone(), template.render(values));
                Value::Object(members.iter().map(render).collect::<Map<_, _>>())
            }
            Template::List(items) => items.iter().map(|item| item.render(values)).collect(),
        }
    }

    /// `None` if the value does not fit.
    pub fn fit<'a>(&self, value: &'a Value, captured: &mut Captured<'a>) -> Option<()> {
        match (self, value) {
            (Template::Text(text), Value::String(found)) => text.fit(found, captured),
            (Template::Literal(Value::Number(literal)), Value::Number(found)) => {
                (literal == found || literal.as_f64() == found.as_f64()).then_some(())
            }
            (Template::Literal(literal), found) => (literal == found).then_some(()),
            (Template::Object(members), Value::Object(found)) => members
                .iter()
                .try_for_each(|(key, template)| template.fit(found.get(key)?, captured)),
            (Template::List(items), Value::Array(found)) => match items.as_slice() {
                [each] => found.iter().try_for_each(|found| each.fit(found, captured)),
                _ if items.len() == found.len() => {
                    items.iter().zip(found).try_for_each(|(item, found)| item.fit(found, captured))
                }
                _ => None,
            },
            (Template::Text(_) | Template::Object(_) | Template::List(_), _) => None,
        }
    }
}

/// The arguments of an event or an acknowledgement: further arguments pass.
pub(crate) fn fit_args<'a>(
    templates: &[Template],
    args: &'a [Value],
    captured: &mut Captured<'a>,
) -> Option<()> {
    if args.len() < templates.len() {
        return None;
    }
    templates.iter().zip(args).try_for_each(|(template, arg)| template.fit(arg, captured))
}
