import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.FileScanTask;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.GenericAppenderFactory;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.encryption.EncryptedFiles;
import org.apache.iceberg.encryption.EncryptionKeyMetadata;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.DataWriter;

/** Iceberg's own maintenance of a table, as an engine does it: {@code compact|expire CATALOG TABLE key=value...}. */
public class Maintenance {
  public static void main(String[] args) throws Exception {
    Map<String, String> properties = new HashMap<>();
    for (int i = 3; i < args.length; i++) {
      String[] pair = args[i].split("=", 2);
      properties.put(pair[0], pair[1]);
    }
    Catalog catalog =
        CatalogUtil.loadCatalog(
            "org.apache.iceberg.jdbc.JdbcCatalog", args[1], properties, new Configuration());
    Table table = catalog.loadTable(TableIdentifier.parse(args[2]));
    if (args[0].equals("compact")) {
      compact(table);
    } else {
      table.expireSnapshots().expireOlderThan(Long.MAX_VALUE).retainLast(1).commit();
    }
    System.exit(0);
  }

  /** All files into one: a snapshot of operation replace, whose added-records are no new rows. */
  private static void compact(Table table) throws Exception {
    Set<DataFile> old = new HashSet<>();
    try (CloseableIterable<FileScanTask> files = table.newScan().planFiles()) {
      files.forEach(task -> old.add(task.file().copy()));
    }
    String path = table.locationProvider().newDataLocation(UUID.randomUUID() + ".parquet");
    DataWriter<Record> writer =
        new GenericAppenderFactory(table.schema(), table.spec())
            .newDataWriter(
                EncryptedFiles.encryptedOutput(
                    table.io().newOutputFile(path), EncryptionKeyMetadata.EMPTY),
                FileFormat.PARQUET,
                null);
    try (CloseableIterable<Record> rows = IcebergGenerics.read(table).build()) {
      rows.forEach(writer::write);
    }
    writer.close();
    table.newRewrite().rewriteFiles(old, Set.of(writer.toDataFile())).commit();
  }
}
