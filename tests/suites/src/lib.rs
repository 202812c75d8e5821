//! The suites stand in `tests/`: one file a tool, named as the tool is, and one file for what holds across tools.
