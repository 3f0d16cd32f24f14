package io.gatun.bench;

import java.io.Console;
import java.io.PrintStream;

/** Says on the standard error stream what is being done: in one changing line, on a terminal alone. */
final class Progress {
    private final PrintStream out;
    private final boolean terminal;
    private int shown;

    Progress() {
        this(System.err, isTerminal(System.console()));
    }

    Progress(PrintStream out, boolean terminal) {
        this.out = out;
        this.terminal = terminal;
    }

    private static boolean isTerminal(Console console) {
        return console != null && console.isTerminal();
    }

    /** What is done now, in place of what was. */
    void show(String what) {
        if (terminal) {
            out.print('\r' + what + " ".repeat(Math.max(0, shown - what.length())));
            out.flush();
            shown = what.length();
        }
    }

    /** Removes the line before other output. */
    void clear() {
        if (terminal) {
            out.print('\r' + " ".repeat(shown) + '\r');
            out.flush();
            shown = 0;
        }
    }

    /** A line that stays. */
    void say(String line) {
        clear();
        out.println(line);
    }
}
