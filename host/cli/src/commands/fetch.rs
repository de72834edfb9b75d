//! `annulus fetch`.

use crate::args::FetchArgs;
use crate::output::{self, grouped, Failure, Outcome};
use annulus_runtime::fetch::{self, Fetched};
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'static str,
    about: &'static str,
    files: &'a [Fetched],
}

pub fn run(args: &FetchArgs) -> Outcome {
    let model = fetch::named(&args.name).map_err(Failure::new)?;
    let bar = output::bytes_bar();
    let files = model.fetch(|file, done, size| {
        bar.set_message(file.to_owned());
        bar.set_length(size);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let files = files.map_err(Failure::new)?;
    if args.json {
        return output::write_json(&Report {
            model: model.name,
            about: model.about,
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
    output::write(&format!(
        "{0} {1}; try: annulus generate --model {0}\n",
        model.name, model.about
    ))
}
