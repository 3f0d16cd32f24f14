#!/bin/sh
# native_jar_test.sh <checks> <c++> <readelf>: native_jar.sh must find what does not belong into a jar, and a library of
# another machine.
set -u
checks=${1:?usage: native_jar_test.sh <checks> <c++> <readelf>}
cxx=$2 readelf=$3
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
failures=0

place=META-INF/native/linux-test
mkdir -p "$folder/content/$place"
printf 'extern "C" int gatun_one() { return 1; }\n' >"$folder/one.cc"
"$cxx" -shared -fPIC "$folder/one.cc" -o "$folder/content/$place/libone.so" || exit 2
touch "$folder/content/META-INF/LICENSE"
machine=$("$readelf" -h "$folder/content/$place/libone.so" | sed -n 's/^ *Machine: *//p')

# verdict <expected status> <library> <machine>
verdict() {
  "${JAVA_HOME:+$JAVA_HOME/bin/}jar" --create --file "$folder/test.jar" -C "$folder/content" . || exit 2
  sh "$checks/native_jar.sh" "$readelf" "$folder/test.jar" "$place/$2" "$3" >"$folder/log" 2>&1
  if [ $? != "$1" ]; then
    echo "expected status $1 for $2, $3:"
    cat "$folder/log"
    failures=$((failures + 1))
  fi
}

verdict 0 libone.so "$machine"
verdict 1 libone.so PDP-11
verdict 1 libother.so "$machine"
cp "$folder/content/$place/libone.so" "$folder/content/$place/libsecond.so"
verdict 1 libone.so "$machine"
rm "$folder/content/$place/libsecond.so"
echo "no library" >"$folder/content/$place/libone.so"
verdict 1 libone.so "$machine"

[ $failures = 0 ] && echo "native_jar: every planted jar was caught"
exit $failures
