package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class RotatingContenderTest {
    private static final Peer PEER = new Peer() {
        @Override
        public String name() {
            return "peer";
        }

        @Override
        public String version() {
            return "1";
        }

        @Override
        public Contender prepare(QMatmulCase problem, QMatmulData data) {
            return null;
        }
    };

    @Test
    void goesThroughAllCopiesInTurn() {
        List<Integer> calls = new ArrayList<>();
        RotatingContender contender = new RotatingContender(PEER, "kernel", "all", 3) {
            @Override
            protected void call(int copy) {
                calls.add(copy);
            }

            @Override
            protected void result(float[] y) {
                y[0] = calls.getLast();
            }

            @Override
            public void close() {}
        };
        for (int call = 0; call < 7; call++) {
            contender.run();
        }
        assertEquals(List.of(0, 1, 2, 0, 1, 2, 0), calls);
        float[] y = new float[1];
        contender.output(2, y);
        assertEquals(2, y[0]);
    }
}
