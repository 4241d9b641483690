//! Loading: from files to targets, deterministically.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use model::{PathSegment, RelativePath};
use starlark::environment::{FrozenModule, Globals, Module};
use starlark::eval::{Evaluator, FileLoader};
use starlark::syntax::{AstModule, Dialect, DialectTypes};

use crate::diagnostic::{Diagnostic, suggest};
use crate::disk::{OUTPUT_FOLDER, refuse_result};
use crate::files::{FileKind, Files, FilesError};
use crate::label::{BUILD_FILE, Label, Targets, is_build_file};
use crate::lang::globals::{globals, inside, no_file};
use crate::lang::mistake;
use crate::lang::rule::Target;
use crate::lang::session::{Session, Texts};

/// How deep calls may nest in a file: recursion is not for build files.
const CALL_DEPTH_MAX: usize = 200;

/// How much a file may compute: about a minute; a loop that runs longer is a mistake.
const TICKS_MAX: u64 = 5_000_000_000;

/// How much memory a file may take, in bytes.
const HEAP_BYTES_MAX: usize = 2 << 30;

/// What a workspace consists of, before anything of it is loaded.
#[derive(Clone, Copy)]
pub struct Workspace<'a> {
    /// Its files.
    pub files: &'a dyn Files,
    /// The rule library that is `@rules`: file name to text.
    pub rules: &'a BTreeMap<String, String>,
    /// A folder of the workspace that stands in for the rule library.
    pub rules_folder: Option<&'a RelativePath>,
}

/// How many files may load one another in a chain.
const LOAD_DEPTH_MAX: usize = 32;

/// How many folders a workspace may have: more is a folder that does not belong into it.
const FOLDERS_MAX: usize = 1_000_000;

/// The targets of a package, by name.
pub(crate) type Package = BTreeMap<String, Rc<Target>>;

/// Loads files, each once.
pub(crate) struct Loader<'a> {
    workspace: Workspace<'a>,
    globals: Globals,
    modules: RefCell<BTreeMap<String, FrozenModule>>,
    loading: RefCell<Vec<String>>,
    packages: RefCell<BTreeMap<RelativePath, Rc<Package>>>,
    ticks_max: u64,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(workspace: Workspace<'a>) -> Self {
        Self {
            workspace,
            globals: globals(),
            modules: RefCell::default(),
            loading: RefCell::default(),
            packages: RefCell::default(),
            ticks_max: TICKS_MAX,
        }
    }

    pub(crate) fn files(&self) -> &dyn Files {
        self.workspace.files
    }

    /// Returns the target of that name.
    pub(crate) fn target(&self, label: &Label) -> Result<Rc<Target>, Diagnostic> {
        let package = self.package(&label.package)?;
        package.get(&label.name).map(Rc::clone).ok_or_else(|| {
            let mut suggestion = suggest(&label.name, package.keys());
            // `//t` is `//t:t`, and whoever writes it may mean everything in there.
            let is_short =
                label.package.split_last().is_some_and(|(_, last)| last.as_str() == label.name);
            if suggestion.is_empty() && is_short {
                suggestion = format!("; //{}:all stands for all that it declares", label.package);
            }
            let file = label.package.join(&build_file());
            Diagnostic::new(format!("{file} declares no target `{}`{suggestion}", label.name))
        })
    }

    /// Returns the targets that a pattern stands for, in the order of their labels.
    pub(crate) fn targets(&self, targets: &Targets) -> Result<Vec<Rc<Target>>, Diagnostic> {
        let all = |package: &RelativePath| -> Result<Vec<Rc<Target>>, Diagnostic> {
            let package = self.package(package)?;
            Ok(package.values().filter(|target| !target.is_manual()).cloned().collect())
        };
        match targets {
            Targets::One(label) => Ok(vec![self.target(label)?]),
            Targets::Package(package) => all(package),
            Targets::Below(folder) => {
                let mut found = Vec::new();
                let packages = self.packages_below(folder)?;
                if packages.is_empty() {
                    let suggestion = self.similar_package(folder)?;
                    let why = format!("there is no package at or below //{folder}{suggestion}");
                    return Err(Diagnostic::new(why));
                }
                for package in packages {
                    found.extend(all(&package)?);
                }
                Ok(found)
            }
        }
    }

    /// Returns every target of the workspace, those tagged `manual` too.
    pub(crate) fn everything(&self) -> Result<Vec<Rc<Target>>, Diagnostic> {
        let mut found = Vec::new();
        for package in self.packages_below(&RelativePath::root())? {
            found.extend(self.package(&package)?.values().cloned());
        }
        Ok(found)
    }

    fn packages_below(&self, folder: &RelativePath) -> Result<Vec<RelativePath>, Diagnostic> {
        let mut packages = Vec::new();
        let mut pending = vec![folder.clone()];
        let mut folders = 0;
        while let Some(folder) = pending.pop() {
            let listed = self.workspace.files.list(&folder);
            let listed = listed.map_err(|error| unreadable(&error))?;
            for (name, kind) in listed {
                // What is none is refused when it is loaded, and not passed over.
                if is_build_file(&name) {
                    packages.push(folder.clone());
                }
                if kind == FileKind::Directory && is_searched(&name) {
                    pending.push(folder.child(&name));
                    folders += 1;
                }
            }
            if folders > FOLDERS_MAX {
                let why = format!("this workspace has more than {FOLDERS_MAX} folders");
                return Err(Diagnostic::new(why));
            }
        }
        packages.sort();
        Ok(packages)
    }

    pub(crate) fn package(&self, package: &RelativePath) -> Result<Rc<Package>, Diagnostic> {
        if let Some(known) = self.packages.borrow().get(package) {
            return Ok(Rc::clone(known));
        }
        let path = package.join(&build_file());
        refuse_result(&path).map_err(Diagnostic::new)?;
        let text = self.workspace.files.read(&path);
        let text = text.map_err(|error| self.not_a_file(&path, &error))?;
        let Some(text) = text else {
            if let Ok(Some(FileKind::Symlink)) = self.workspace.files.kind(&path) {
                let why = format!("{path} is a link that leads nowhere: mend or remove it");
                return Err(Diagnostic::new(why));
            }
            let suggestion = self.similar_package(package)?;
            return Err(Diagnostic::new(format!(
                "there is no package //{package}: {path} does not exist{suggestion}"
            )));
        };
        let session = Session::Package {
            files: self.workspace.files,
            package: package.clone(),
            targets: RefCell::default(),
            listed: RefCell::default(),
        };
        self.evaluate(path.as_str(), text, &Home::Workspace(package.clone()), &session)?;
        let Session::Package { targets, .. } = session else {
            unreachable!("the session was made as one of a package");
        };
        let package_rc = Rc::new(targets.into_inner());
        self.packages.borrow_mut().insert(package.clone(), Rc::clone(&package_rc));
        Ok(package_rc)
    }

    /// Says why a package's file cannot be read.
    fn not_a_file(&self, path: &RelativePath, error: &FilesError) -> Diagnostic {
        let kind = self.workspace.files.kind(path).ok().flatten();
        let what = match kind {
            Some(FileKind::Directory) => "a folder",
            Some(FileKind::Other) => "a device, socket or pipe",
            Some(FileKind::Symlink) => "a link, and not one to a file of this workspace",
            Some(FileKind::File) | None => return unreadable(error),
        };
        let mend =
            "a package is declared by a file of that name: put one there, or call this otherwise";
        Diagnostic::new(format!("{path} is {what}: {mend}"))
    }

    fn similar_package(&self, package: &RelativePath) -> Result<String, Diagnostic> {
        let known = self.packages_below(&RelativePath::root())?;
        let known: Vec<_> = known.iter().map(|package| format!("//{package}")).collect();
        Ok(suggest(&format!("//{package}"), &known))
    }

    /// Returns a file that was loaded.
    pub(crate) fn module(&self, file: &str) -> Option<FrozenModule> {
        self.modules.borrow().get(file).cloned()
    }

    fn evaluate(
        &self,
        file: &str,
        text: String,
        home: &Home,
        session: &Session<'_>,
    ) -> Result<FrozenModule, Diagnostic> {
        let dialect = Dialect {
            enable_f_strings: true,
            enable_types: DialectTypes::Enable,
            enable_keyword_only_arguments: true,
            enable_top_level_stmt: true,
            ..Dialect::Standard
        };
        let ast = AstModule::parse(file, text, &dialect)?;
        let relative = Relative { loader: self, home };
        Module::with_temp_heap(|module| {
            {
                let mut eval = Evaluator::new(&module);
                self.set_bounds(&mut eval)?;
                eval.set_loader(&relative);
                eval.extra = Some(session);
                eval.eval_module(ast, &self.globals).map_err(|error| {
                    let error = Diagnostic::from(error);
                    if error.place.is_some() { error } else { error.in_file(file) }
                })?;
            }
            module.freeze().map_err(|error| Diagnostic::new(format!("{file}: {}", error.err_msg)))
        })
    }

    fn library(
        &self,
        file: &str,
        home: &Home,
        path: &RelativePath,
    ) -> starlark::Result<FrozenModule> {
        if let Some(module) = self.module(file) {
            return Ok(module);
        }
        let mut chain = self.loading.borrow().clone();
        chain.push(file.to_owned());
        if let Some(from) = chain[..chain.len() - 1].iter().position(|loading| loading == file) {
            let cycle = chain[from..].join(" → ");
            return Err(mistake(format!("files load each other: {cycle}")));
        }
        if chain.len() > LOAD_DEPTH_MAX {
            return Err(mistake(format!(
                "more than {LOAD_DEPTH_MAX} files load one another: {}",
                chain.join(" → ")
            )));
        }
        let text = self.library_text(home, path)?;
        self.loading.borrow_mut().push(file.to_owned());
        let texts = Relative { loader: self, home };
        let session = Session::Library { texts: &texts, file: file.to_owned() };
        let module = self.evaluate(file, text, home, &session);
        self.loading.borrow_mut().pop();
        let module = module.map_err(starlark::Error::new_native)?;
        self.modules.borrow_mut().insert(file.to_owned(), module.clone());
        Ok(module)
    }

    fn library_text(&self, home: &Home, path: &RelativePath) -> starlark::Result<String> {
        let read = |path: &RelativePath| {
            let text = self.workspace.files.read(path);
            text.map_err(|error| starlark::Error::new_native(unreadable(&error)))
        };
        let (path, text) = match (home, self.workspace.rules_folder) {
            (Home::Rules, None) => {
                let rules = self.workspace.rules;
                let suggestion = || suggest(path.as_str(), rules.keys());
                return rules.get(path.as_str()).cloned().ok_or_else(|| {
                    mistake(format!("there is no file `@rules//{path}`{}", suggestion()))
                });
            }
            (Home::Rules, Some(folder)) => (folder.join(path), read(&folder.join(path))?),
            (Home::Workspace(_), _) => {
                refuse_result(path).map_err(mistake)?;
                (path.clone(), read(path)?)
            }
        };
        match text {
            Some(text) => Ok(text),
            None => Err(no_file(self.workspace.files, &path)),
        }
    }

    pub(crate) fn set_bounds(&self, eval: &mut Evaluator<'_, '_, '_>) -> Result<(), Diagnostic> {
        let bounds = eval
            .set_max_callstack_size(CALL_DEPTH_MAX)
            .and_then(|()| eval.set_max_tick_count(self.ticks_max))
            .and_then(|()| eval.set_max_heap_size(HEAP_BYTES_MAX));
        bounds.map_err(|error| Diagnostic::from(starlark::Error::new_other(error)))
    }
}

/// Returns whether packages are looked for in a folder of that name.
pub(crate) fn is_searched(name: &PathSegment) -> bool {
    !name.as_str().starts_with('.') && name.as_str() != OUTPUT_FOLDER
}

fn build_file() -> RelativePath {
    RelativePath::new(BUILD_FILE).expect("a constant")
}

pub(crate) fn unreadable(error: &FilesError) -> Diagnostic {
    Diagnostic::new(format!("{error}: {}", error.source))
}

/// Where a file lies: what its own loads and texts are relative to.
#[derive(Clone)]
enum Home {
    /// In this folder, however the label that loads it splits the path.
    Workspace(RelativePath),
    Rules,
}

struct Relative<'l, 'a> {
    loader: &'l Loader<'a>,
    home: &'l Home,
}

impl Texts for Relative<'_, '_> {
    fn text(&self, path: &str) -> starlark::Result<String> {
        let path = inside("this folder", path)?;
        match self.home {
            Home::Rules => self.loader.library_text(self.home, &path),
            Home::Workspace(package) => self.loader.library_text(self.home, &package.join(&path)),
        }
    }
}

impl FileLoader for Relative<'_, '_> {
    fn load(&self, path: &str) -> starlark::Result<FrozenModule> {
        let malformed = || {
            mistake(format!(
                "`{path}` cannot be loaded: write \"@rules//file.bzl\", \"//package:file.bzl\" or \":file.bzl\""
            ))
        };
        path.strip_suffix(".bzl").ok_or_else(malformed)?;
        let parse = |path: &str| RelativePath::new(path).map_err(|_source| malformed());
        if let Some(file) = path.strip_prefix("@rules//") {
            let file = parse(&file.replace(':', "/"))?;
            return self.loader.library(&format!("@rules//{file}"), &Home::Rules, &file);
        }
        let (package, file) = match (path.strip_prefix("//"), path.strip_prefix(':'), self.home) {
            (Some(rest), _, Home::Workspace(_)) => {
                let (package, file) = rest.split_once(':').ok_or_else(malformed)?;
                (parse(package)?, parse(file)?)
            }
            (None, Some(file), Home::Workspace(package)) => (package.clone(), parse(file)?),
            (None, Some(file), Home::Rules) => {
                let file = parse(file)?;
                return self.loader.library(&format!("@rules//{file}"), &Home::Rules, &file);
            }
            _ => return Err(malformed()),
        };
        let path = package.join(&file);
        let folder = path.split_last().map(|(folder, _)| folder).unwrap_or_default();
        self.loader.library(path.as_str(), &Home::Workspace(folder), &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One BUILD file.
    struct Only(&'static str);

    impl Files for Only {
        fn read(&self, _: &RelativePath) -> Result<Option<String>, FilesError> {
            Ok(Some(self.0.to_owned()))
        }

        fn list(
            &self,
            _: &RelativePath,
        ) -> Result<Vec<(model::PathSegment, FileKind)>, FilesError> {
            Ok(Vec::new())
        }

        fn kind(&self, _: &RelativePath) -> Result<Option<FileKind>, FilesError> {
            Ok(None)
        }
    }

    #[test]
    fn a_loop_that_does_not_end_is_stopped() {
        let files = Only("for _ in range(1000000000):\n    pass\n");
        let rules = BTreeMap::new();
        let workspace = Workspace { files: &files, rules: &rules, rules_folder: None };
        let loader = Loader { ticks_max: 100_000, ..Loader::new(workspace) };
        let error = loader.package(&RelativePath::root()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this computes for too long: is there a loop that does not end?\n --> BUILD.bld"
        );
    }
}
