package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class CommandTest {
    private static final Duration LIMIT = Duration.ofSeconds(3);
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    @TempDir
    private Path folder;

    private List<Result> run(String script) throws IOException {
        return Command.run(List.of("sh", "-c", script, "sh", folder.toString()), Map.of(), LIMIT);
    }

    private static String message(Executable call) {
        return assertTimeoutPreemptively(PATIENCE, () -> assertThrows(IOException.class, call))
                .getMessage();
    }

    private Path pipe(String name) throws Exception {
        Path pipe = folder.resolve(name);
        assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
        return pipe;
    }

    /** Deaf to polite signals, as is the child that it waits for; both hold a pipe open as long as they live. */
    @Test
    void whatTakesTooLongIsKilledWithItsChildren() throws Exception {
        Path alive = pipe("alive");
        FutureTask<String> bothHaveEnded = new FutureTask<>(() -> Files.readString(alive));
        Thread.ofPlatform().daemon().start(bothHaveEnded);
        String script = "trap '' TERM; exec 3>\"$1/alive\"; sleep 600 & echo started >&3; wait; wait";
        assertEquals(
                "killed, as it took longer than 3 s: sh -c " + script + " sh " + folder, message(() -> run(script)));
        assertEquals("started\n", bothHaveEnded.get(PATIENCE.toSeconds(), TimeUnit.SECONDS));
    }

    /**
     * A process that has left the tree holds the pipe, from which nothing comes any more. Who was reading when its starter
     * ended reads on, for ever; who comes later sees the end.
     */
    @Test
    void anOrphanDoesNotKeepUsWaiting() throws Exception {
        Path release = pipe("release");
        String script = "(read line <\"$1/release\" &); sleep 1";
        try {
            assertTimeoutPreemptively(PATIENCE, () -> {
                try {
                    assertEquals(List.of(), run(script));
                } catch (IOException e) {
                    assertTrue(e.getMessage().startsWith("killed"), e.getMessage());
                }
            });
        } finally {
            Files.writeString(release, "now\n");
        }
    }

    @Test
    void anExternalPeerHasALimit() {
        ExternalPeer peer = new ExternalPeer("slow", "exec sleep 600 #", LIMIT);
        assertEquals(
                "killed, as it took longer than 3 s: sh -c exec sleep 600 # \"$@\" slow qmatmul a case 1",
                message(() -> peer.measure("qmatmul", "a case", 1)));
    }

    @Test
    void wrongUsageEndsWithTwo() {
        for (String peer : List.of("gatun=x", "libtorch=x", "no command")) {
            IOException thrown =
                    assertThrows(IOException.class, () -> Command.java(Bench.class, List.of("--peer", peer), Map.of()));
            assertEquals("exit code 2", thrown.getMessage().split(" of ")[0], peer);
        }
    }
}
