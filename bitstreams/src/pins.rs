//! A list of pins: which port of the top goes to which pin of the package.

use crate::flow::FlowError;
use std::collections::BTreeMap;

/// Ports and their pins, from lines `set_io PORT PIN`; `#` begins a comment.
///
/// # Errors
/// A line that is none, a port or a pin that stands twice.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, FlowError> {
    let mut pins = BTreeMap::new();
    let mut ports: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or("").trim();
        if code.is_empty() {
            continue;
        }
        let words: Vec<_> = code.split_whitespace().collect();
        let &["set_io", port, pin] = words.as_slice() else {
            return Err(FlowError::PinLine(code.into()));
        };
        if pins.insert(port.to_owned(), pin.to_owned()).is_some() {
            return Err(FlowError::PortTwice(port.into()));
        }
        if let Some(other) = ports.insert(pin.into(), port.into()) {
            return Err(FlowError::PinTwice {
                pin: pin.into(),
                ports: [other, port.into()],
            });
        }
    }
    Ok(pins)
}
