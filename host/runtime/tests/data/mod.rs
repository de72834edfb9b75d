//! Real models, from the folder that `ANNULUS_DATA` names.

use std::path::PathBuf;

use annulus_model::model::Model;
use annulus_model::quantize::Rotation;

/// A model file there; `None`, and loudly, where it is missing.
pub fn model(file: &str) -> Option<Model> {
    let folder = std::env::var_os("ANNULUS_DATA").map(PathBuf::from);
    let path = folder
        .map(|folder| folder.join(file))
        .filter(|path| path.is_file());
    if path.is_none() {
        eprintln!("SKIPPED: this test needs {file} in the folder that ANNULUS_DATA names");
    }
    path.map(|path| {
        Model::open(&path, None, Rotation::Hadamard).expect("a model that the importers read")
    })
}
