#!/bin/sh
# cmake/ccache.sh CHECKOUT CCACHE COMPILER ARGUMENT...: compiles through ccache.
#
# Paths under the checkout are hashed as relative ones, so that a second checkout finds what the
# first compiled. The sloppiness is what ccache demands before it caches a source that is compiled
# with a precompiled header.
CCACHE_BASEDIR=$1 CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
export CCACHE_BASEDIR CCACHE_NOHASHDIR CCACHE_SLOPPINESS
shift

# An earlier precompiled header must not be there when its successor is made. To find out whether
# the header changed, ccache lets the compiler preprocess it, with `-include` of the header itself:
# the compiler would then take the earlier one instead of reading the changed files.
before=
for argument; do
  case "$before $argument" in "-o "*.gch) rm -f "$argument" ;; esac
  before=$argument
done
exec "$@"
