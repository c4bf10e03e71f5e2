// The governor decides from times alone, so its tests feed it times.
#include "governor.h"

#include <doctest/doctest.h>

using hunch::Governor;

TEST_CASE("governor: one lane stays one lane") {
  Governor g(1);
  for (int i = 0; i < 100; i++) g.finished(1e-3, 1e-3);
  CHECK(g.active() == 1);
}

TEST_CASE("governor: short waits change nothing") {
  Governor g(8);
  for (int i = 0; i < 1000; i++) {
    g.finished(1e-3, 1e-4);
    CHECK(g.active() == 8);
  }
}

TEST_CASE("governor: starved lanes are given up, tried again, and come back when the core is free") {
  Governor g(2);
  for (int i = 0; i < 3; i++) {
    CHECK(g.active() == 2);
    g.finished(10e-3, 8e-3);
  }
  CHECK(g.active() == 1);
  int probes = 0;
  for (int i = 0; i < 400; i++) {  // the other program stays
    const bool probing = g.active() == 2;
    probes += probing;
    g.finished(probing ? 12e-3 : 4e-3, probing ? 9e-3 : 0);
  }
  CHECK(g.active() == 1);
  CHECK(probes >= 2);
  CHECK(probes <= 5);  // its patience grows
  int tokens = 0;
  for (; tokens < 600; tokens++) {  // and now it is gone
    const bool all = g.active() == 2;
    g.finished(all ? 2e-3 : 4e-3, 0);
    if (all && g.active() == 2) break;
  }
  CHECK(tokens < 600);
  for (int i = 0; i < 100; i++) {
    g.finished(2e-3, 0);
    CHECK(g.active() == 2);
  }
}
