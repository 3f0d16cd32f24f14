package io.gatun.example;

import java.io.Console;

/** Says on the standard error stream what is being done: in one changing line on a terminal, else line by line. */
final class Progress {
    private final boolean terminal;
    private int shown;

    Progress() {
        Console console = System.console();
        terminal = console != null && console.isTerminal();
    }

    void show(String what) {
        if (terminal) {
            System.err.print('\r' + what + " ".repeat(Math.max(0, shown - what.length())));
            System.err.flush();
            shown = what.length();
        } else {
            System.err.println(what);
        }
    }

    /** Clears the line before other output. */
    void done() {
        if (terminal) {
            System.err.print('\r' + " ".repeat(shown) + '\r');
            System.err.flush();
            shown = 0;
        }
    }
}
