//! One alternative of a leaf: a value, or an operator with its operand.

use crate::{
    Error,
    compile::{Compiler, Over, shortened},
    number::{Bound, Bounds, Number},
    test::{Test, TextTest},
    wildcard::Wildcard,
};
use serde_json::Value;

/// Their names, as they are listed.
pub const OPERATORS: &str =
    "`prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `exists` and `cidr`";
const IGNORE_CASE: &str = "equals-ignore-case";

impl Compiler {
    /// `None` is `{exists: false}`.
    pub fn alternative(&mut self, alternative: &Value, over: Over) -> Result<Option<Test>, Error> {
        self.count()?;
        if let Value::Object(_) = alternative {
            let (operator, operand) = self.operator(alternative)?;
            return self.at(operator, |compiler| compiler.test(operator, operand, over));
        }
        self.equal(alternative, over).map(Some)
    }

    fn test(&mut self, operator: &str, operand: &Value, over: Over) -> Result<Option<Test>, Error> {
        Ok(Some(match (operator, operand) {
            ("exists", Value::Bool(false)) => return Ok(None),
            ("exists", Value::Bool(true)) => Test::Exists,
            ("exists", other) => return self.refuse(format!("{} is neither true nor false", shortened(other))),
            ("numeric", _) if over == Over::Text => {
                return self.refuse("compares numbers, but this is read as text: use an operator for texts");
            }
            ("numeric", bounds) => Test::Number(self.bounds(bounds)?),
            ("anything-but", excluded) => Test::AnythingBut(self.excluded(excluded, over)?),
            ("cidr", range) => {
                let text = self.text(range)?;
                match text.parse() {
                    Ok(range) => Test::Text(TextTest::Cidr(range)),
                    Err(_) => return self.refuse("is no range of addresses: write 10.0.0.0/24 or 2001:db8::/32"),
                }
            }
            ("prefix" | "suffix", Value::Object(_)) => {
                let (inner, operand) = self.operator(operand)?;
                self.at(inner, |compiler| match inner {
                    IGNORE_CASE => {
                        let text = compiler.text(operand)?;
                        let prefix = operator == "prefix";
                        Ok(Test::Text(if prefix {
                            TextTest::PrefixIgnoreCase(text)
                        } else {
                            TextTest::SuffixIgnoreCase(text)
                        }))
                    }
                    _ => compiler.refuse(format!("is no operator in `{operator}`: there is `{IGNORE_CASE}`")),
                })?
            }
            ("prefix" | "suffix" | "wildcard" | IGNORE_CASE, text) => Test::Text(self.text_test(operator, text)?),
            _ => return self.refuse(format!("is no operator: there are {OPERATORS}")),
        }))
    }

    fn text_test(&mut self, operator: &str, operand: &Value) -> Result<TextTest, Error> {
        let text = self.text(operand)?;
        Ok(match operator {
            "prefix" => TextTest::Prefix(text),
            "suffix" => TextTest::Suffix(text),
            "wildcard" => match Wildcard::parse(&text) {
                Ok(wildcard) => TextTest::Wildcard(wildcard),
                Err(error) => return self.refuse(error.to_string()),
            },
            _ => TextTest::EqualsIgnoreCase(text),
        })
    }

    fn equal(&mut self, value: &Value, over: Over) -> Result<Test, Error> {
        Ok(match value {
            Value::String(_) => Test::Text(TextTest::Equals(self.text(value)?)),
            Value::Array(_) | Value::Object(_) => {
                return self.refuse(format!("is {} in a list of alternatives: write values", shortened(value)));
            }
            Value::Null if over == Over::Text => {
                return self.refuse("null is no text: write {exists: false} for what is absent");
            }
            _ if over == Over::Text => {
                return self.refuse(format!("{value} is no text, with which it is compared: write \"{value}\""));
            }
            Value::Null => Test::Null,
            Value::Bool(value) => Test::Bool(*value),
            Value::Number(_) => Test::Number(Bounds::exactly(self.number(value)?)),
        })
    }

    /// What `anything-but` leaves out: as with AWS texts or numbers, not both, or what a single
    /// operator for texts says.
    fn excluded(&mut self, excluded: &Value, over: Over) -> Result<Vec<Test>, Error> {
        let one_or_more =
            |compiler: &mut Self, value: &Value, kinds: &str, test: &dyn Fn(&mut Self, &Value) -> _| match value {
                Value::Array(list) if list.is_empty() => {
                    compiler.refuse(format!("is an empty list: write {kinds}, or use {{exists: true}}"))
                }
                Value::Array(list) => compiler.each(list, |compiler, value| {
                    compiler.count()?;
                    test(compiler, value)
                }),
                single => Ok(vec![test(compiler, single)?]),
            };
        if let Value::Object(_) = excluded {
            let (operator, operand) = self.operator(excluded)?;
            return self.at(operator, |compiler| {
                if !["prefix", "suffix", "wildcard", IGNORE_CASE].contains(&operator) {
                    let known = "`prefix`, `suffix`, `wildcard` and `equals-ignore-case`";
                    return compiler.refuse(format!("is no operator in `anything-but`: there are {known}"));
                }
                one_or_more(compiler, operand, "texts", &|compiler, text| {
                    if text == "" && ["prefix", "suffix"].contains(&operator) {
                        return compiler.refuse("is empty, which leaves out every text: write at least one character");
                    }
                    compiler.text_test(operator, text).map(Test::Text)
                })
            });
        }
        let tests = one_or_more(self, excluded, "texts or numbers", &|compiler, value| match value {
            Value::String(_) | Value::Number(_) => compiler.equal(value, over),
            other => compiler.refuse(format!("{} is neither text nor a number: write one", shortened(other))),
        })?;
        let texts = tests.iter().filter(|test| matches!(test, Test::Text(_))).count();
        if texts != 0 && texts != tests.len() {
            return self.refuse("has texts and numbers: write only texts or only numbers");
        }
        Ok(tests)
    }

    fn bounds(&mut self, operand: &Value) -> Result<Bounds, Error> {
        const FORM: &str = "write [\"=\", 5], [\">\", 0] or [\">=\", 0, \"<\", 5]";
        let Value::Array(items) = operand else { return self.refuse(format!("is no list: {FORM}")) };
        if ![2, 4].contains(&items.len()) {
            return self.refuse(format!("is no list of one or two operators, each with its number: {FORM}"));
        }
        let mut bounds = Bounds::default();
        for (index, pair) in items.chunks_exact(2).enumerate() {
            let number = self.at(&(index * 2 + 1).to_string(), |compiler| compiler.number(&pair[1]))?;
            let bound = |inclusive| Some(Bound { at: number, inclusive });
            match pair[0].as_str() {
                Some("=") if items.len() == 2 => bounds = Bounds::exactly(number),
                Some(operator @ (">" | ">=")) if index == 0 => bounds.low = bound(operator == ">="),
                Some(operator @ ("<" | "<=")) if index == 1 || items.len() == 2 => {
                    bounds.high = bound(operator == "<=");
                }
                _ => {
                    return self.at(&(index * 2).to_string(), |compiler| {
                        compiler.refuse(format!("{} is no operator here: {FORM}", shortened(&pair[0])))
                    });
                }
            }
        }
        if bounds.are_empty() {
            return self.refuse("is a range that holds no number: write the lower bound first");
        }
        Ok(bounds)
    }

    fn number(&mut self, value: &Value) -> Result<Number, Error> {
        match value.as_number().and_then(Number::of) {
            Some(number) => Ok(number),
            None => self.refuse(format!("{} is no number: write one, without quotes", shortened(value))),
        }
    }

    /// The only field of an object, and what it holds.
    fn operator<'v>(&mut self, object: &'v Value) -> Result<(&'v str, &'v Value), Error> {
        let mut fields = object.as_object().into_iter().flatten();
        match (fields.next(), fields.next()) {
            (Some((operator, operand)), None) => Ok((operator, operand)),
            (None, _) => self.refuse(format!("is an empty object: write an operator; there are {OPERATORS}")),
            _ => self.refuse("has several operators: write each as an alternative of its own"),
        }
    }
}
