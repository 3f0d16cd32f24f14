package io.gatun.bench.report;

import java.nio.file.Path;
import java.util.List;

/** Writes a report of the samples into the folder that is its argument; a process of its own for {@link ReportTest}. */
final class WriteReport {
    private WriteReport() {}

    public static void main(String[] arguments) throws Exception {
        Report.write(Path.of(arguments[0]), Samples.run(), List.of());
    }
}
