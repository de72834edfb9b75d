//! `annulus fetch`.

use crate::args::FetchArgs;
use crate::output::{self, grouped, Failure, Outcome};
use annulus_runtime::fetch::{self, Fetched, Kind};
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    name: &'static str,
    about: &'static str,
    files: &'a [Fetched],
}

pub fn run(args: &FetchArgs) -> Outcome {
    let remote = fetch::named(&args.name).map_err(Failure::new)?;
    let bar = output::bytes_bar();
    let files = remote.fetch(|file, done, size| {
        bar.set_message(file.to_owned());
        bar.set_length(size);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let files = files.map_err(Failure::new)?;
    if args.json {
        return output::write_json(&Report {
            name: remote.name,
            about: remote.about,
            files: &files,
        });
    }
    for file in &files {
        let bytes = grouped(file.size as f64);
        let came = if file.downloaded == 0 {
            "already there"
        } else {
            "downloaded"
        };
        output::write(&format!(
            "{} ({bytes} bytes, {came}, checksum right)\n",
            file.path.display()
        ))?;
    }
    let name = remote.name;
    let hint = match remote.kind {
        Kind::Model => format!("annulus generate --model {name}"),
        Kind::Text => format!("annulus eval --model shakespeare --text {name}"),
    };
    output::write(&format!("{name} {}; try: {hint}\n", remote.about))
}
