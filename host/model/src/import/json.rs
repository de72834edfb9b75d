//! JSON as far as weights need it, and as Python writes it: `NaN` and `Infinity`
//! are read as numbers, so that whoever asks for the number can say which one it is.

use super::ImportError;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while_m_n};
use nom::character::complete::{anychar, char, none_of};
use nom::combinator::{cut, map, map_opt, value, verify};
use nom::error::{ErrorKind, ParseError};
use nom::multi::{many0, separated_list0};
use nom::number::complete::recognize_float;
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};

/// Lists and objects in one another; weights need three.
const MAX_DEPTH: usize = 16;

/// A JSON value. Objects keep their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`, `true` or `false`, which no field of ours holds.
    Other,
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// Where parsing stopped, and what would have been right there.
#[derive(Debug)]
struct Stop<'a> {
    at: &'a str,
    expected: &'static str,
}

impl<'a> ParseError<&'a str> for Stop<'a> {
    fn from_error_kind(at: &'a str, _: ErrorKind) -> Self {
        Stop {
            at,
            expected: "a value",
        }
    }
    fn from_char(at: &'a str, c: char) -> Self {
        let expected = match c {
            ':' => "':'",
            '}' => "',' or '}'",
            ']' => "',' or ']'",
            '"' => "a string",
            _ => "a value",
        };
        Stop { at, expected }
    }
    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Parsed<'a, T> = IResult<&'a str, T, Stop<'a>>;

/// Parses a whole text.
pub fn parse(text: &str) -> Result<Json, ImportError> {
    let stop = match terminated(|input| json(input, 0), space).parse(text) {
        Ok(("", json)) => return Ok(json),
        Ok((at, _)) => Stop {
            at,
            expected: "the end of the file",
        },
        Err(nom::Err::Error(stop) | nom::Err::Failure(stop)) => stop,
        Err(nom::Err::Incomplete(_)) => Stop {
            at: "",
            expected: "more",
        },
    };
    let before = &text[..text.len() - stop.at.len()];
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
    Err(ImportError::Syntax {
        line,
        column,
        expected: stop.expected,
    })
}

fn space(input: &str) -> Parsed<'_, &str> {
    take_while(|c: char| " \t\r\n".contains(c))(input)
}

fn json(input: &str, depth: usize) -> Parsed<'_, Json> {
    if depth > MAX_DEPTH {
        return Err(nom::Err::Failure(Stop {
            at: input,
            expected: "fewer lists in one another",
        }));
    }
    let inner = |input| json(input, depth + 1);
    preceded(
        space,
        alt((
            map(number, Json::Number),
            map(string, Json::Text),
            map(
                delimited(char('['), separated_list0(mark(','), inner), cut(mark(']'))),
                Json::List,
            ),
            map(
                delimited(
                    char('{'),
                    separated_list0(
                        mark(','),
                        separated_pair(preceded(space, string), cut(mark(':')), cut(inner)),
                    ),
                    cut(mark('}')),
                ),
                Json::Object,
            ),
            value(Json::Other, alt((tag("null"), tag("true"), tag("false")))),
        )),
    )
    .parse(input)
}

/// A punctuation mark with space before it.
fn mark<'a>(c: char) -> impl Parser<&'a str, Output = char, Error = Stop<'a>> {
    preceded(space, char(c))
}

fn number(input: &str) -> Parsed<'_, f64> {
    alt((
        value(f64::NAN, tag("NaN")),
        value(f64::INFINITY, tag("Infinity")),
        value(f64::NEG_INFINITY, tag("-Infinity")),
        map_opt(recognize_float, |digits: &str| digits.parse().ok()),
    ))
    .parse(input)
}

fn string(input: &str) -> Parsed<'_, String> {
    let piece = alt((preceded(char('\\'), cut(escape)), none_of("\"\\")));
    map(
        delimited(char('"'), many0(piece), cut(char('"'))),
        String::from_iter,
    )
    .parse(input)
}

fn escape(input: &str) -> Parsed<'_, char> {
    alt((
        map_opt(anychar, |c| match c {
            '"' | '\\' | '/' => Some(c),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            _ => None,
        }),
        map_opt(unit, |u| char::from_u32(u32::from(u))),
        // A character beyond the basic plane is two surrogates.
        map_opt((unit, preceded(char('\\'), unit)), |(high, low)| {
            char::decode_utf16([high, low]).next().and_then(Result::ok)
        }),
    ))
    .parse(input)
}

/// `u` and four hexadecimal digits.
fn unit(input: &str) -> Parsed<'_, u16> {
    let digits = verify(
        take_while_m_n(4, 4, |c: char| c.is_ascii_hexdigit()),
        |s: &str| s.len() == 4,
    );
    preceded(
        char('u'),
        map_opt(digits, |s: &str| u16::from_str_radix(s, 16).ok()),
    )
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind() {
        let parsed = parse(
            " {\"a\": [1, -2.5e-3, []], \"b\\n\\u00e9\\ud83d\\ude00\": \"x\", \"c\": null}\n",
        );
        let expected = Json::Object(vec![
            (
                "a".into(),
                Json::List(vec![
                    Json::Number(1.0),
                    Json::Number(-0.0025),
                    Json::List(vec![]),
                ]),
            ),
            ("b\né😀".into(), Json::Text("x".into())),
            ("c".into(), Json::Other),
        ]);
        assert_eq!(parsed, Ok(expected));
    }

    #[test]
    fn python_writes_numbers_that_json_lacks() {
        let Ok(Json::List(list)) = parse("[NaN, Infinity, -Infinity]") else {
            panic!("not a list")
        };
        assert!(matches!(list[0], Json::Number(n) if n.is_nan()));
        assert_eq!(
            list[1..],
            [Json::Number(f64::INFINITY), Json::Number(f64::NEG_INFINITY)]
        );
    }

    #[test]
    fn faults_say_where() {
        for (text, sentence) in [
            ("", "not valid JSON at line 1, column 1: expected a value"),
            (
                "{\"a\" 1}",
                "not valid JSON at line 1, column 6: expected ':'",
            ),
            (
                "[1,\n 2",
                "not valid JSON at line 2, column 3: expected ',' or ']'",
            ),
            (
                "{\"a\": 1",
                "not valid JSON at line 1, column 8: expected ',' or '}'",
            ),
            (
                "1 2",
                "not valid JSON at line 1, column 3: expected the end of the file",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), sentence, "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
