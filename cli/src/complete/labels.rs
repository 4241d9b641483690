//! What a pattern that is being typed can become: folders, packages, targets, axes, values.

use engine::{NamedFolder, Pattern, Targets};
use model::RelativePath;

use super::Candidate;
use crate::lockfile;
use crate::planned::locked_members;
use crate::workspace::OpenWorkspace;

/// Returns what a pattern can become. Only packages that it names are loaded.
pub(super) fn patterns(workspace: &OpenWorkspace, typed: &str) -> Vec<Candidate> {
    let found = match typed.split_once('{') {
        Some((target, choices)) => cells(workspace, target, choices),
        None => match typed.split_once(':') {
            Some((package, _)) => targets(workspace, package),
            None => packages(workspace, typed),
        },
    };
    found.unwrap_or_default()
}

/// Returns the axes of a target that are not chosen yet, or the values of the last one.
fn cells(workspace: &OpenWorkspace, target: &str, choices: &str) -> Option<Vec<Candidate>> {
    let pattern = Pattern::parse(target, &workspace.here).ok()?;
    let Targets::One(label) = &pattern.targets else { return None };
    let lock = lockfile::read(workspace).ok()?;
    let locked = lock.as_ref().map(locked_members).unwrap_or_default();
    let settings = workspace.config.choose(&[]).ok()?;
    let known = workspace.engine().axes(label, &settings, &locked).ok()?;
    let (before, last) = choices
        .rsplit_once(',')
        .map_or(("", choices), |(before, last)| (&choices[..=before.len()], last));
    let chosen: Vec<_> = before.split(',').filter_map(|it| it.split_once('=')).collect();
    let open = |axis: &str| chosen.iter().all(|(other, _)| *other != axis);
    let Some((axis, value)) = last.split_once('=') else {
        let named = known.iter().filter(|(axis, _)| open(axis)).map(|(axis, values)| Candidate {
            text: format!("{target}{{{before}{axis}="),
            help: format!("{} values", values.len()),
        });
        return Some(named.collect());
    };
    let values = known.get(axis).filter(|_| open(axis))?;
    let more = known.keys().any(|other| other != axis && open(other));
    let fits: Vec<_> = values.iter().filter(|it| it.starts_with(value)).collect();
    let mut found = Vec::new();
    for fit in &fits {
        let text = format!("{target}{{{before}{axis}={fit}");
        // Once it is clear which value is meant, the question is how to go on.
        let clear = fits.len() == 1 || *fit == value;
        let ends: &[&str] = match (clear, more) {
            (true, true) => &["}", ","],
            (true, false) => &["}"],
            (false, _) => &[""],
        };
        let with = |end: &&str| Candidate { text: format!("{text}{end}"), help: String::new() };
        found.extend(ends.iter().map(with));
    }
    Some(found)
}

/// Returns the targets of a package.
fn targets(workspace: &OpenWorkspace, package: &str) -> Option<Vec<Candidate>> {
    let path = match package.strip_prefix("//") {
        Some(path) => RelativePath::new(path).ok()?,
        None if package.is_empty() => workspace.here.clone(),
        None => workspace.here.join(&RelativePath::new(package).ok()?),
    };
    let mut found = Vec::new();
    for target in workspace.engine().targets_of(&path).ok()? {
        let text = format!("{package}:{}", target.name);
        if !target.axes.is_empty() {
            let help = format!("cells: {}", target.axes.join(", "));
            found.push(Candidate { text: format!("{text}{{"), help });
        }
        found.push(Candidate { text, help: target.rule });
    }
    found.push(Candidate { text: format!("{package}:all"), help: "every target".to_owned() });
    found.sort_by(|one, other| one.text.cmp(&other.text));
    Some(found)
}

/// Returns the packages, and the folders on the way to packages, in the folder that is typed.
fn packages(workspace: &OpenWorkspace, typed: &str) -> Option<Vec<Candidate>> {
    // A single slash can only become two.
    if typed == "/" {
        return Some(vec![Candidate { text: "//".to_owned(), help: String::new() }]);
    }
    let (lead, rest) = match typed.strip_prefix("//") {
        Some(rest) => ("//", rest),
        None => ("", typed),
    };
    if rest.starts_with('/') {
        return None;
    }
    let (folder, prefix) = rest.rsplit_once('/').unwrap_or(("", rest));
    let within = RelativePath::new(folder).ok()?;
    let within = if lead.is_empty() { workspace.here.join(&within) } else { within };
    let shown = &typed[..typed.len() - prefix.len()];
    let engine = workspace.engine();
    let mut found = Vec::new();
    for NamedFolder { path, is_package, has_packages } in engine.folders(&within, prefix).ok()? {
        let (_, name) = path.split_last()?;
        let ends = [(is_package, ":", "package"), (has_packages, "/", "folder")];
        for (_, end, help) in ends.into_iter().filter(|(is, ..)| *is) {
            found.push(Candidate { text: format!("{shown}{name}{end}"), help: help.to_owned() });
        }
    }
    if prefix.is_empty() && folder.is_empty() {
        if engine.folder(&within).ok()?.is_package {
            found.push(Candidate { text: format!("{lead}:"), help: "package".to_owned() });
        }
        if lead.is_empty() {
            found.push(Candidate { text: "//".to_owned(), help: "from the root".to_owned() });
        }
    }
    if !found.is_empty() {
        let help = "every target at or below".to_owned();
        found.push(Candidate { text: format!("{shown}..."), help });
    }
    Some(found)
}
