#!/bin/sh
# check_format: every C file stands as clang-format 14 would set it. Run from the repository root.
set -u
files=$(find base proto presence mailbox edge router client cli bench tests -name '*.[ch]' 2>/dev/null)
[ -n "$files" ] || { echo "no files: nothing was checked"; exit 1; }
formatter=$(command -v clang-format-14 || command -v clang-format) || { echo "clang-format is missing: deploy/packages test"; exit 1; }
$formatter --dry-run --Werror $files
