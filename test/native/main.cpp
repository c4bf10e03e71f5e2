#include <cfloat>  // doctest 2.4.9 counts on another header for DBL_EPSILON

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
