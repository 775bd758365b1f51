#!/bin/bash
# test_install BUILD CC LIBDIR: what is installed is what a program needs, and shows nothing else.
set -euo pipefail
build=$1 cc=$2 libdir=$3
folder=$(mktemp -d /tmp/test_install.XXXXXX)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/prefix
bad=0
complain() { echo "$*" >&2; bad=1; }

cmake --install "$build" --component client --prefix "$prefix" >"$folder/install.log" || { cat "$folder/install.log"; exit 1; }
shared=$prefix/$libdir/liblahar.so archive=$prefix/$libdir/liblahar.a
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig LD_LIBRARY_PATH=$prefix/$libdir

# ---- the libraries by themselves

# Every function of the header, and not one name more.
grep -o '\blahar_[a-z_]*(' "$prefix/include/lahar.h" | tr -d '(' | sort -u >"$folder/promised"
[ "$(wc -l <"$folder/promised")" -ge 15 ] || complain "the header promises too little: nothing was checked"
nm -D --defined-only "$shared" | awk '{print $3}' | sort -u >"$folder/shared"
nm -g --defined-only "$archive" | awk 'NF == 3 {print $3}' | sort -u >"$folder/static"
diff "$folder/promised" "$folder/shared" || complain "liblahar.so exports something else than its header says"
diff "$folder/promised" "$folder/static" || complain "liblahar.a exports something else than its header says"

needed() { objdump -p "$1" | awk '$1 == "NEEDED" {print $2}' | sort | tr '\n' ' '; }
[ "$(needed "$shared")" = "libc.so.6 libcrypto.so.3 libprotobuf-c.so.1 libssl.so.3 " ] ||
    complain "liblahar.so needs $(needed "$shared")"
objdump -p "$shared" | grep -q 'SONAME *liblahar\.so\.[0-9]*$' || complain "liblahar.so has no soname with a version"

# No globals: nothing that can be written to. No log: nobody writes to stdout or stderr.
for section in .data .bss .tdata .tbss; do
    size=$(size -A "$archive" | awk -v section=$section '$1 == section {sum += $2} END {print sum + 0}')
    [ "$size" = 0 ] || complain "liblahar has $size bytes of globals in $section"
done
if nm "$archive" | grep -E ' (log_[a-z]+|stderr|stdout|printf|puts|perror|v?syslog|__printf_chk|zmq_[a-z]+|redis[A-Z].*)$'; then
    complain "liblahar writes to a log, or links what it should not"
fi

# ---- programs

cat >"$folder/program.c" <<'END'
#include <lahar.h>
#include <stdio.h>

/* A name that the library uses inside: it must not clash. */
int map_find(void);
int map_find(void) { return 0; }

static size_t token(void *context, char *out, size_t room)
{
    (void)context, (void)out, (void)room;
    return 0;
}

int main(void)
{
    struct lahar_options options = {.servers = "tls://127.0.0.1:1,tcp://127.0.0.1:1", .device = "desk", .token = token};
    const char *why;
    struct lahar *lahar = lahar_new(&options, &why);
    if (!lahar)
        return fprintf(stderr, "%s\n", why), 1;
    while (lahar_why(lahar)[0] == '\0' && lahar_run(lahar, 10) == LAHAR_OK)
        ;
    printf("%s %s\n", lahar_version(), lahar_why(lahar));
    lahar_free(lahar);
    return map_find();
}
END
cat >"$folder/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(program C)
find_package(lahar 0.1 REQUIRED COMPONENTS static)
add_executable(with_cmake program.c)
target_link_libraries(with_cmake PRIVATE lahar::lahar)
add_executable(with_cmake_static program.c)
target_link_libraries(with_cmake_static PRIVATE lahar::lahar_static)
END

cd "$folder"
flags="-std=c11 -Wall -Wextra -Wpedantic -Werror"
$cc $flags program.c -o with_pkgconfig $(pkg-config --cflags --libs lahar)
$cc $flags program.c -o with_pkgconfig_static $(pkg-config --static --cflags --libs lahar | sed 's/-llahar/-l:liblahar.a/')
cmake -G Ninja -S . -B out -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" >cmake.log 2>&1 && cmake --build out >>cmake.log 2>&1 ||
    { cat cmake.log; complain "a program with find_package(lahar) does not build"; }
printf '#include <lahar.h>\nint main() { return lahar_version()[0] == 0; }\n' >program.cc
if command -v c++ >/dev/null; then c++ -Wall -Werror -fsyntax-only program.cc -I"$prefix/include" || complain "the header is no C++"; fi

for program in with_pkgconfig with_pkgconfig_static out/with_cmake out/with_cmake_static; do
    said=$(./$program) || complain "$program failed"
    [ "$said" = "$(pkg-config --modversion lahar) connect" ] || complain "$program said: $said"
    case $program in *static) expected="" ;; *) expected=liblahar.so.0 ;; esac
    [ "$(needed "$program" | grep -o 'liblahar[^ ]*' || true)" = "$expected" ] || complain "$program needs $(needed "$program")"
done
exit $bad
