//! Loading: from files to targets, deterministically.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use model::RelativePath;
use starlark::environment::{FrozenModule, Globals, Module};
use starlark::eval::{Evaluator, FileLoader};
use starlark::syntax::{AstModule, Dialect, DialectTypes};

use crate::diagnostic::{Diagnostic, suggest};
use crate::files::{FileKind, Files};
use crate::label::{BUILD_FILE, Label, Targets, is_build_file};
use crate::lang::globals::globals;
use crate::lang::mistake;
use crate::lang::rule::Target;
use crate::lang::session::{Session, Texts};
use crate::source::OUTPUT_FOLDER;

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

/// The targets of a package, by name.
pub(crate) type Package = BTreeMap<String, Target>;

/// Loads files, each once.
pub(crate) struct Loader<'a> {
    workspace: Workspace<'a>,
    globals: Globals,
    modules: RefCell<BTreeMap<String, FrozenModule>>,
    loading: RefCell<Vec<String>>,
    packages: RefCell<BTreeMap<RelativePath, Rc<Package>>>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(workspace: Workspace<'a>) -> Self {
        Self {
            workspace,
            globals: globals(),
            modules: RefCell::default(),
            loading: RefCell::default(),
            packages: RefCell::default(),
        }
    }

    pub(crate) fn files(&self) -> &dyn Files {
        self.workspace.files
    }

    /// Returns the target of that name.
    pub(crate) fn target(&self, label: &Label) -> Result<Target, Diagnostic> {
        let package = self.package(&label.package)?;
        package.get(&label.name).cloned().ok_or_else(|| {
            let suggestion = suggest(&label.name, package.keys());
            let file = label.package.join(&build_file());
            Diagnostic::new(format!("{file} declares no target `{}`{suggestion}", label.name))
        })
    }

    /// Returns the targets that a pattern stands for, in the order of their labels.
    pub(crate) fn targets(&self, targets: &Targets) -> Result<Vec<Target>, Diagnostic> {
        let all = |package: &RelativePath| -> Result<Vec<Target>, Diagnostic> {
            let package = self.package(package)?;
            Ok(package.values().filter(|target| !target.is_manual()).cloned().collect())
        };
        match targets {
            Targets::One(label) => Ok(vec![self.target(label)?]),
            Targets::Package(package) => all(package),
            Targets::Below(folder) => {
                let mut found = Vec::new();
                for package in self.packages_below(folder)? {
                    found.extend(all(&package)?);
                }
                Ok(found)
            }
        }
    }

    /// Returns every target of the workspace, those tagged `manual` too.
    pub(crate) fn everything(&self) -> Result<Vec<Target>, Diagnostic> {
        let mut found = Vec::new();
        for package in self.packages_below(&RelativePath::root())? {
            found.extend(self.package(&package)?.values().cloned());
        }
        Ok(found)
    }

    fn packages_below(&self, folder: &RelativePath) -> Result<Vec<RelativePath>, Diagnostic> {
        let mut packages = Vec::new();
        let mut pending = vec![folder.clone()];
        while let Some(folder) = pending.pop() {
            let listed = self.workspace.files.list(&folder);
            let listed = listed.map_err(|error| unreadable(&error))?;
            for (name, kind) in listed {
                if kind == FileKind::File && is_build_file(&name) {
                    packages.push(folder.clone());
                }
                let hidden = name.as_str().starts_with('.') || name.as_str() == OUTPUT_FOLDER;
                if kind == FileKind::Directory && !hidden {
                    pending.push(folder.child(&name));
                }
            }
        }
        packages.sort();
        Ok(packages)
    }

    fn package(&self, package: &RelativePath) -> Result<Rc<Package>, Diagnostic> {
        if let Some(known) = self.packages.borrow().get(package) {
            return Ok(Rc::clone(known));
        }
        let path = package.join(&build_file());
        let text = self.workspace.files.read(&path).map_err(|error| unreadable(&error))?;
        let Some(text) = text else {
            let known: Vec<_> = self
                .packages_below(&RelativePath::root())?
                .iter()
                .map(|package| format!("//{package}"))
                .collect();
            let suggestion = suggest(&format!("//{package}"), &known);
            return Err(Diagnostic::new(format!(
                "there is no package //{package}: {path} does not exist{suggestion}"
            )));
        };
        let session = Session::Package {
            files: self.workspace.files,
            package: package.clone(),
            targets: RefCell::default(),
        };
        self.evaluate(path.as_str(), text, &Home::Workspace(package.clone()), &session)?;
        let Session::Package { targets, .. } = session else {
            unreachable!("the session was made as one of a package");
        };
        let package_rc = Rc::new(targets.into_inner());
        self.packages.borrow_mut().insert(package.clone(), Rc::clone(&package_rc));
        Ok(package_rc)
    }

    /// Returns a function that a file defines.
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
                set_bounds(&mut eval)?;
                eval.set_loader(&relative);
                eval.extra = Some(session);
                eval.eval_module(ast, &self.globals)?;
            }
            module.freeze().map_err(|error| Diagnostic::new(format!("{file}: {error:?}")))
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
        if self.loading.borrow().iter().any(|loading| loading == file) {
            return Err(mistake(format!("files load each other: {}", chain.join(" → "))));
        }
        let text = self.library_text(home, path)?;
        self.loading.borrow_mut().push(file.to_owned());
        let texts = Relative { loader: self, home };
        let module = self.evaluate(file, text, home, &Session::Library { texts: &texts });
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
        let (text, suggestion) = match (home, self.workspace.rules_folder) {
            (Home::Rules, None) => {
                let rules = self.workspace.rules;
                let suggestion = suggest(path.as_str(), rules.keys());
                (rules.get(path.as_str()).cloned(), suggestion)
            }
            (Home::Rules, Some(folder)) => (read(&folder.join(path))?, String::new()),
            (Home::Workspace(_), _) => (read(path)?, String::new()),
        };
        text.ok_or_else(|| mistake(format!("there is no file `{path}`{suggestion}")))
    }
}

pub(crate) fn set_bounds(eval: &mut Evaluator<'_, '_, '_>) -> Result<(), Diagnostic> {
    let failed = |error: starlark::Error| Diagnostic::from(error);
    eval.set_max_callstack_size(CALL_DEPTH_MAX)
        .map_err(|error| failed(starlark::Error::new_other(error)))?;
    eval.set_max_tick_count(TICKS_MAX)
        .map_err(|error| failed(starlark::Error::new_other(error)))?;
    eval.set_max_heap_size(HEAP_BYTES_MAX)
        .map_err(|error| failed(starlark::Error::new_other(error)))
}

fn build_file() -> RelativePath {
    RelativePath::new(BUILD_FILE).expect("a constant")
}

fn unreadable(error: &crate::files::FilesError) -> Diagnostic {
    Diagnostic::new(format!("{error}: {}", error.source))
}

/// Where a file lies: what its own loads are relative to.
#[derive(Clone)]
enum Home {
    Workspace(RelativePath),
    Rules,
}

struct Relative<'l, 'a> {
    loader: &'l Loader<'a>,
    home: &'l Home,
}

impl Texts for Relative<'_, '_> {
    fn text(&self, path: &str) -> starlark::Result<String> {
        let path = RelativePath::new(path).map_err(|error| mistake(error.to_string()))?;
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
        self.loader.library(path.as_str(), &Home::Workspace(package), &path)
    }
}
