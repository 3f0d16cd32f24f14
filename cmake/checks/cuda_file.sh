#!/bin/sh
# cuda_file.sh <object>: <op>/<file>.cu of .../<target>.dir/src/<op>/<file>.cu.o
printf '%s\n' "${1:?usage: cuda_file.sh <object>}" | sed 's:.*/\([^/]*/[^/]*\)\.o$:\1:'
