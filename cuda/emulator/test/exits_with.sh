#!/bin/sh
# exits_with.sh <status> <command>...: succeeds if the command exits with that status.
expected=$1
shift
"$@"
status=$?
[ "$status" -eq "$expected" ] && exit 0
echo "exit status $status; expected: $expected"
exit 1
