//! Built-in actions: named and cached like any other, done without a sandbox or a single mounted file.

use model::{ActionResult, Command, Node, RelativePath, TreeDigest};
use store::{LocalStore, TreeSource};

use crate::ExecuteError;
use crate::outputs::directory_output;

/// The first argument of a command that `bld` itself carries out; the second is the built-in's name.
pub const BUILTIN_PROGRAM: &str = "bld-builtin";

/// Returns the salt of a built-in's actions, or `None` if there is no built-in of that name.
pub fn builtin_salt(name: &str) -> Option<String> {
    match name {
        "compose" => Some(format!("bld-builtin-compose-{}", formats::COMPOSE_VERSION)),
        _ => None,
    }
}

/// Carries out a built-in: `bld-builtin compose <operations as JSON>`, over the trees `0`, `1`… of the input root.
pub(crate) async fn run(
    store: &LocalStore,
    root: TreeDigest,
    command: &Command,
    salt: &str,
    trees: &dyn TreeSource,
) -> Result<ActionResult, ExecuteError> {
    let name = command.arguments.get(1).map_or("", String::as_str);
    let known = builtin_salt(name).is_some_and(|known| known == salt);
    if !known {
        return Err(ExecuteError::UnknownBuiltin {
            name: name.to_owned(),
            version: salt.to_owned(),
        });
    }
    let operations = command.arguments.get(2).map_or("[]", String::as_str);
    let operations: Vec<formats::Operation> = serde_json::from_str(operations)
        .map_err(|source| ExecuteError::BuiltinArguments { source })?;
    let inputs = numbered(store, root)?;
    let began = std::time::Instant::now();
    let mut composed =
        tokio::task::block_in_place(|| formats::compose(store, &inputs, &operations));
    if composed.as_ref().is_err_and(formats::ComposeError::is_transient) {
        // Listings are missing: somebody must bring the trees first.
        for tree in &inputs {
            if !trees.ensure_listings(*tree).await? {
                let path = RelativePath::root();
                return Err(ExecuteError::MissingInput { digest: tree.0, path });
            }
        }
        composed = tokio::task::block_in_place(|| formats::compose(store, &inputs, &operations));
    }
    let mut result = ActionResult::default();
    "bld-builtin".clone_into(&mut result.metadata.worker);
    match composed {
        Ok(tree) => {
            let path = command.output_paths.first().cloned().unwrap_or_default();
            result.directories.push(directory_output(store, path, tree)?);
        }
        Err(formats::ComposeError { fault: formats::ComposeFault::Store(error), .. }) => {
            return Err(error.into());
        }
        Err(error) => {
            result.exit_code = 1;
            let message = format!("bld: {error}: {}\n", error.fault);
            result.stderr = Some(store.ingest_bytes(message.as_bytes(), false)?);
        }
    }
    result.metadata.wall = began.elapsed();
    result.metadata.cpu = began.elapsed();
    Ok(result)
}

/// Returns the trees at `0`, `1`… of an input root.
fn numbered(store: &LocalStore, root: TreeDigest) -> Result<Vec<TreeDigest>, ExecuteError> {
    let missing = || ExecuteError::MissingInput { digest: root.0, path: RelativePath::root() };
    let directory = store.directory(root)?.ok_or_else(missing)?;
    let mut inputs = Vec::new();
    while let Some(Node::Directory(tree)) = directory.get(&inputs.len().to_string()) {
        inputs.push(*tree);
    }
    Ok(inputs)
}
