import java.io.IOException;
import java.time.LocalDateTime;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.util.Collector;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.SupportsNamespaces;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.CatalogLoader;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.flink.sink.FlinkSink;
import org.apache.iceberg.flink.sink.IcebergSink;
import org.apache.iceberg.types.Types;

/**
 * Copies every order from Kafka, with its partition and offset, into an Iceberg table.
 *
 * <p>Arguments are {@code key=value}: {@code bootstrap}, {@code topic}, {@code group}, {@code table}, {@code sink}
 * (v1 or v2), {@code uid} (the sink's uidPrefix or uidSuffix), {@code source} (the source's uid, if it is not made of
 * the sink's), {@code name}, {@code parallelism}, {@code catalog} (its name), and every {@code catalog.KEY} as a property
 * of the catalog. The table is created if it is missing.
 */
public final class OrdersJob {

  private static final Schema SCHEMA =
      new Schema(
          Types.NestedField.optional(1, "order_id", Types.LongType.get()),
          Types.NestedField.optional(2, "customer", Types.StringType.get()),
          Types.NestedField.optional(3, "amount", Types.DoubleType.get()),
          Types.NestedField.optional(4, "event_time", Types.TimestampType.withoutZone()),
          Types.NestedField.optional(5, "kafka_partition", Types.IntegerType.get()),
          Types.NestedField.optional(6, "kafka_offset", Types.LongType.get()));

  private OrdersJob() {}

  public static void main(String[] arguments) throws Exception {
    Map<String, String> options = parse(arguments);
    CatalogLoader loader = catalogLoader(options);
    TableIdentifier table = TableIdentifier.parse(options.get("table"));
    createTableIfMissing(loader, table);

    StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
    environment.setParallelism(Integer.parseInt(options.getOrDefault("parallelism", "1")));
    DataStream<RowData> orders =
        environment
            .fromSource(source(options), WatermarkStrategy.noWatermarks(), "orders")
            // Not the sink's own uid: the v2 sink puts its suffix into uids that must stay unique.
            .uid(options.getOrDefault("source", options.get("uid") + "-source"));
    write(orders, TableLoader.fromCatalog(loader, table), options);
    environment.execute(options.get("name"));
  }

  private static void write(DataStream<RowData> orders, TableLoader table, Map<String, String> options) {
    switch (options.get("sink")) {
      case "v1":
        FlinkSink.forRowData(orders).tableLoader(table).uidPrefix(options.get("uid")).append();
        return;
      case "v2":
        IcebergSink.forRowData(orders).tableLoader(table).uidSuffix(options.get("uid")).append();
        return;
      default:
        throw new IllegalArgumentException("sink is v1 or v2, not " + options.get("sink"));
    }
  }

  private static KafkaSource<RowData> source(Map<String, String> options) {
    return KafkaSource.<RowData>builder()
        .setBootstrapServers(options.get("bootstrap"))
        .setTopics(options.get("topic"))
        .setGroupId(options.get("group"))
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setDeserializer(new OrderDeserializer())
        .build();
  }

  private static CatalogLoader catalogLoader(Map<String, String> options) {
    Map<String, String> properties = new HashMap<>();
    options.forEach(
        (key, value) -> {
          if (key.startsWith("catalog.")) {
            properties.put(key.substring("catalog.".length()), value);
          }
        });
    return CatalogLoader.custom(
        options.get("catalog"), properties, new Configuration(), "org.apache.iceberg.jdbc.JdbcCatalog");
  }

  private static void createTableIfMissing(CatalogLoader loader, TableIdentifier table) {
    Catalog catalog = loader.loadCatalog();
    SupportsNamespaces namespaces = (SupportsNamespaces) catalog;
    if (!namespaces.namespaceExists(table.namespace())) {
      namespaces.createNamespace(table.namespace());
    }
    if (!catalog.tableExists(table)) {
      catalog.createTable(table, SCHEMA, PartitionSpec.unpartitioned(), Map.of("format-version", "2"));
    }
  }

  private static Map<String, String> parse(String[] arguments) {
    Map<String, String> options = new HashMap<>();
    for (String argument : arguments) {
      String[] pair = argument.split("=", 2);
      options.put(pair[0], pair[1]);
    }
    return options;
  }

  /** An order's JSON, and where it was read. */
  private static final class OrderDeserializer implements KafkaRecordDeserializationSchema<RowData> {

    private transient ObjectMapper mapper;

    @Override
    public void open(DeserializationSchema.InitializationContext context) {
      mapper = new ObjectMapper();
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> kafkaRecord, Collector<RowData> out) throws IOException {
      JsonNode order = mapper.readTree(kafkaRecord.value());
      out.collect(
          GenericRowData.of(
              order.get("order_id").asLong(),
              StringData.fromString(order.get("customer").asText()),
              order.get("amount").asDouble(),
              TimestampData.fromLocalDateTime(LocalDateTime.parse(order.get("event_time").asText())),
              kafkaRecord.partition(),
              kafkaRecord.offset()));
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
      return InternalTypeInfo.of(FlinkSchemaUtil.convert(SCHEMA));
    }
  }
}
