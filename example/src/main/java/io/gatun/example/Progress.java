package io.gatun.example;

import java.io.Console;

/** Says on the standard error stream what is being done: in one changing line on a terminal, else a line a phase. */
final class Progress {
    private final boolean terminal;
    private String phase = "";
    private int shown;

    Progress() {
        Console console = System.console();
        terminal = console != null && console.isTerminal();
    }

    void phase(String what) {
        phase = what;
        if (terminal) {
            replace(what);
        } else {
            System.err.println(what);
        }
    }

    /** A part of the phase; only a terminal shows it. */
    void step(String what) {
        if (terminal) {
            replace(phase + ": " + what);
        }
    }

    /** Clears the line before other output. */
    void done() {
        if (terminal) {
            replace("");
        }
    }

    private void replace(String line) {
        System.err.print('\r' + line + " ".repeat(Math.max(0, shown - line.length())) + (line.isEmpty() ? "\r" : ""));
        System.err.flush();
        shown = line.length();
    }
}
