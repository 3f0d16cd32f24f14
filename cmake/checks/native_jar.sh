#!/bin/sh
# native_jar.sh <readelf> <jar> <library> <machine>: beside its manifest and LICENSE the jar holds the library alone, at its
# path META-INF/native/<platform>/, and that is for the machine (as readelf names it).
set -u
readelf=${1:?usage: native_jar.sh <readelf> <jar> <library> <machine>}
library=$3 machine=$4
jar=$(CDPATH='' cd -- "$(dirname -- "$2")" && pwd)/$(basename -- "$2")
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && "${JAVA_HOME:+$JAVA_HOME/bin/}jar" --extract --file "$jar") || exit 2

natives=$(cd "$folder" && find . -type f ! -name MANIFEST.MF ! -name LICENSE | sed 's:^\./::')
if [ "$natives" != "$library" ]; then
  printf '%s holds:\n%s\nbut should: %s\n' "$jar" "$natives" "$library"
  exit 1
fi
of=$("$readelf" -h "$folder/$library" | sed -n 's/^ *Machine: *//p')
if [ "$of" != "$machine" ]; then
  echo "$library is for ${of:-no machine}, not $machine"
  exit 1
fi
echo "native_jar: $library, $machine, $(wc -c <"$folder/$library") bytes"
