# Runs a test: its results lie in a folder of their own, which is there even if it leaves none.
mkdir -p "$TEST_OUTPUT"
exec "$@"
