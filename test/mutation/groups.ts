/** Files of `src/` that one run changes, and the tests that it runs: only those of these files. */
export interface Group {
  readonly files: readonly string[];
  readonly tests: readonly string[];
  /** Whether one of these tests replaces a module, which no other test must get. */
  readonly replacesModules?: boolean;
}

/**
 * These tests do not start an engine, a browser or another runtime, and do not play many random traces. Such tests take too long to run for each change.
 */
export const GROUPS: Readonly<Record<string, Group>> = {
  core: {
    files: [
      "src/core/session_id.ts",
      "src/core/metadata.ts",
      "src/core/expiry.ts",
      "src/core/cookie_transport/cookie_{beside,header,line}.ts",
      "src/core/cookie_transport.ts",
      "src/core/header_transport.ts",
    ],
    tests: [
      "test/core/**/{session_id,metadata,expiry,cookie_header,cookie_transport,cookie_scopes,session_cookie,header_transport,request_transport}.test.ts",
    ],
  },
  core_front: {
    files: [
      "src/core/address.ts",
      "src/core/response.ts",
      "src/core/request_transport.ts",
      "src/core/session_manager.ts",
      "src/core/with_session.ts",
    ],
    tests: [
      "test/core/**/{caching,manager_internals,request_transport,response,session_manager,several_sessions,with_session}.test.ts",
      "test/core/address.test.ts",
    ],
  },
  core_finish: {
    files: ["src/core/finish.ts", "src/core/nested.ts", "src/core/commit/touch.ts"],
    tests: [
      "test/core/**/{after_the_response,caching,finish,manager_internals,nested,persist,recovery,session_manager,touch}.test.ts",
    ],
  },
  core_cookie_options: {
    files: [
      "src/core/cookie_transport/cookie_options.ts",
      "src/core/cookie_transport/cookie_scope.ts",
      "src/core/cookie_transport/loopback.ts",
      "src/core/http_token.ts",
      "src/core/options/transport_options.ts",
    ],
    tests: [
      "test/core/**/{cookie_options,cookie_scope,cookie_scopes,cookie_transport,http_token,loopback,resolve_options,transport_options}.test.ts",
    ],
  },
  core_store_client: {
    files: [
      "src/core/store_client.ts",
      "src/core/operation.ts",
      "src/core/store_answers.ts",
      "src/core/maybe_promise.ts",
      "src/core/repository/repository_wrapper.ts",
      "src/core/repository/repository_source.ts",
      "src/core/store_repository/store_key.ts",
      "src/core/runtime.ts",
    ],
    tests: [
      "test/core/**/{maybe_promise,operation,repository_source,repository_wrapper,runtime,store_answers}.test.ts",
      "test/core/**/{store_client,store_client_calls}.test.ts",
    ],
  },
  core_handle: {
    files: [
      "src/core/commit/group_commit.ts",
      "src/core/commit/write_queue.ts",
      "src/core/session/session_arguments.ts",
      "src/core/manager_internals.ts",
    ],
    tests: ["test/core/**/{group_commit,manager_internals,session_arguments,update}.test.ts"],
  },
  core_state: {
    files: ["src/core/working_copy.ts"],
    tests: [
      "test/core/**/{after_the_response,changes_in_place,commit,create,destroy,flash,grace,group_commit}.test.ts",
      "test/core/**/{persist,recovery,renew_by_age,rotate,session_handle,several_sessions,streaming,timeouts,update,working_copy}.test.ts",
      "test/requirements/pitfalls/{losing_data,outages,programs,rotation_and_clocks,sequences_and_crashes}.test.ts",
    ],
  },
  core_queue: {
    files: ["src/core/session/call_queue.ts"],
    tests: ["test/core/session/call_queue.test.ts"],
  },
  core_active: {
    files: [
      "src/core/session/active_internals.ts",
      "src/core/session/active_session.ts",
      "src/core/session/lazy_session.ts",
      "src/core/session/session_handle.ts",
      "src/core/session/session_info.ts",
      "src/core/session_internals.ts",
      "src/core/session/session_prototype.ts",
      "src/core/session/session_token.ts",
    ],
    tests: [
      "test/core/**/{active_internals,after_the_response,changes_in_place,commit,create,destroy,events,expiry_of_sessions}.test.ts",
      "test/core/**/{finish,flash,fresh,grace,group_commit,load,loaded_sessions,manager_internals}.test.ts",
      "test/core/**/{nested,persist,recovery,renew_by_age,request_transport,rotate,schema,session_handle,session_internals}.test.ts",
      "test/core/**/{session_manager,session_prototype,session_values,several_sessions,streaming,timeouts,touch,update,update_key}.test.ts",
      "test/core/**/{with_session,working_copy}.test.ts",
      "test/cookie_sessions/cookie_sessions.test.ts",
      "test/exclusive.test.ts",
      "test/requirements/pitfalls/{letting_in,losing_data,outages,programs,rotation_and_clocks,sequences_and_crashes}.test.ts",
    ],
  },
  core_lifecycle: {
    files: [
      "src/core/recovery.ts",
      "src/core/commit/rotate.ts",
      "src/core/commit/renew_by_age.ts",
      "src/core/commit.ts",
      "src/core/commit/report.ts",
      "src/core/commit/end_pending.ts",
    ],
    tests: [
      "test/core/**/{after_the_response,calls_at_once,changes_in_place,commit,create,destroy,expiry_of_sessions,flash,fresh,grace}.test.ts",
      "test/core/**/{group_commit,load,persist,recovery,renew_by_age,rotate,session_handle,several_sessions,streaming}.test.ts",
      "test/core/**/{timeouts,update,update_key,working_copy}.test.ts",
      "test/cookie_sessions/{cookie_sessions,revocation}.test.ts",
      "test/requirements/pitfalls/{letting_in,losing_data,outages,programs,rotation_and_clocks,sequences_and_crashes}.test.ts",
    ],
  },
  core_changes: {
    files: ["src/core/changes.ts", "src/core/metadata_changes.ts", "src/core/commit/update.ts"],
    tests: [
      "test/core/**/{after_the_response,changes,changes_in_place,commit,create,grace,group_commit,recovery,rotate}.test.ts",
      "test/core/**/{metadata_changes,schema,timeouts,update,update_key,working_copy,write_names}.test.ts",
      "test/requirements/pitfalls/losing_data.test.ts",
    ],
  },
  core_update_key: {
    files: ["src/core/commit/update_key.ts"],
    tests: [
      "test/core/**/{after_the_response,calls_at_once,changes_in_place,flash,renew_by_age,update,update_key}.test.ts",
    ],
  },
  core_create: {
    files: ["src/core/commit/create.ts"],
    tests: ["test/core/**/{create,recovery,rotate,schema,timeouts}.test.ts"],
  },
  core_access: {
    files: ["src/core/admission.ts", "src/core/load.ts"],
    tests: [
      "test/core/**/{admission,after_the_response,destroy,grace,loaded_sessions,nested}.test.ts",
      "test/signed_ids.test.ts",
      "test/cookie_sessions/{clocks,size}.test.ts",
    ],
  },
  core_small: {
    files: [
      "src/core/store_repository/end_record.ts",
      "src/core/store_repository/ended_sessions.ts",
      "src/core/store_repository/write_names.ts",
      "src/core/session/fresh.ts",
      "src/core/operation_with.ts",
    ],
    tests: ["test/core/**/{end_record,fresh,operation_with,write_names}.test.ts"],
  },
  core_values: {
    files: ["src/core/flash.ts", "src/core/values.ts", "src/core/session/session_values.ts"],
    tests: [
      "test/core/**/{after_the_response,changes_in_place,flash,session_handle,session_values,update_key,with_session}.test.ts",
    ],
  },
  core_codec: {
    files: ["src/core/codec.ts", "src/core/value_table.ts", "src/core/schema.ts"],
    tests: ["test/core/**/{codec,schema}.test.ts"],
  },
  core_options: {
    files: [
      "src/core/options/resolve_options.ts",
      "src/core/options/option_checks.ts",
      "src/core/options/simple_checks.ts",
      "src/core/known_options.ts",
      "src/core/kind_of.ts",
      "src/core/prefetch.ts",
      "src/core/errors.ts",
      "src/core/events.ts",
      "src/core/options/store_resolver.ts",
      "src/core/name_claims.ts",
      "src/core/transport.ts",
    ],
    tests: [
      "test/core/**/{errors,events,kind_of,known_options,option_checks,simple_checks,resolve_options,prefetch}.test.ts",
      "test/core/**/{several_sessions,store_resolver,transport}.test.ts",
    ],
  },
  core_records: {
    files: [
      "src/core/record_fields.ts",
      "src/core/record_text.ts",
      "src/core/store_repository/record_write.ts",
      "src/core/fields.ts",
      "src/core/record_codec.ts",
      "src/core/record_size.ts",
    ],
    tests: ["test/core/**/{fields,record_codec,record_fields,record_size,record_text,record_write}.test.ts"],
  },
  core_store: {
    files: ["src/core/store_repository.ts", "src/core/store_repository/retired_id.ts"],
    tests: ["test/core/store_repository.test.ts", "test/core/store_repository/retired_id.test.ts"],
  },
  crypto: {
    files: ["src/core/{hash,base64url}.ts", "src/crypto/*.ts", "src/signed_ids.ts", "src/encryption.ts"],
    tests: ["test/core/hash.test.ts", "test/crypto/*.test.ts", "test/{signed_ids,encryption}.test.ts"],
  },
  cookie_sessions: {
    files: ["src/cookie_sessions.ts", "src/cookie_sessions/*.ts"],
    tests: [
      "test/cookie_sessions/{chunks,clocks,cookie_repository,cookie_sessions,revocation,size}.test.ts",
      "test/core/cookie_scopes.test.ts",
    ],
  },
  csrf: {
    files: ["src/csrf.ts", "src/cross_origin.ts"],
    tests: ["test/{csrf,cross_origin}.test.ts"],
  },
  dpop: {
    files: ["src/dpop.ts", "src/dpop_client.ts", "src/dpop/*.ts"],
    tests: ["test/dpop/{address,dpop,dpop_client,indexed_db,proof,rules,together}.test.ts"],
  },
  device_bound: {
    files: ["src/device_bound.ts", "src/device_bound/*.ts"],
    tests: ["test/device_bound/{challenge,messages,endpoints,device_bound,edge_cases,together}.test.ts"],
  },
  user_sessions: {
    files: ["src/user_sessions.ts", "src/user_sessions/*.ts"],
    tests: [
      "test/user_sessions.test.ts",
      "test/user_sessions/{credentials,eventual,faults,healing,limit,lists,plugin,web_crypto}.test.ts",
    ],
  },
  read_your_writes: {
    files: ["src/read_your_writes.ts", "src/read_your_writes/*.ts"],
    tests: [
      "test/read_your_writes/{at_once,busy,hostile,places,recent_writes_cookie,repository,signed_ids,writes}.test.ts",
    ],
  },
  small: {
    files: ["src/exclusive.ts", "src/nist.ts"],
    tests: ["test/{exclusive,nist}.test.ts"],
  },
  hono: {
    files: ["src/hono.ts", "src/opentelemetry.ts"],
    tests: ["test/{hono,opentelemetry}.test.ts"],
  },
  next: {
    files: ["src/next.ts", "src/next/control_flow.ts", "src/next/pass_on.ts", "src/next/set_cookie.ts"],
    tests: ["test/next/*.test.ts"],
  },
  node: {
    files: ["src/node.ts", "src/node/*.ts"],
    tests: ["test/node/{held_headers,hold_back,hostile_address,messages,node}.test.ts"],
  },
  testing: {
    files: [
      "src/testing/cookie_jar.ts",
      "src/testing/fake_clock.ts",
      "src/testing/faulty_store.ts",
      "src/testing/kv_simulator.ts",
      "src/testing/seed_session.ts",
    ],
    tests: ["test/testing/{cookie_jar,fake_clock,faulty_store,kv_simulator,seed_session}.test.ts"],
  },
  stores_memory: {
    files: ["src/stores/memory.ts"],
    tests: ["test/stores/memory.test.ts"],
  },
  stores_redis: {
    files: [
      "src/stores/redis.ts",
      "src/stores/redis/client.ts",
      "src/stores/redis/engine.ts",
      "src/stores/redis/commands.ts",
      "src/stores/redis/hash_layout.ts",
      "src/stores/redis/known_values.ts",
      "src/stores/redis/record_store.ts",
      "src/stores/redis/reply.ts",
      "src/stores/redis/value_layout.ts",
    ],
    tests: ["test/stores/redis{,_clients,_commands,_known_values,_reply,_senders}.test.ts"],
  },
  stores_migrating: {
    files: ["src/stores/migrating.ts", "src/stores/migrating/*.ts"],
    tests: ["test/stores/migrating{,_versions}.test.ts"],
  },
  stores_file: {
    files: ["src/stores/file.ts", "src/stores/file/*.ts"],
    tests: ["test/stores/file{,_faults,_names,_power_loss,_windows}.test.ts"],
    replacesModules: true,
  },
  stores_sql: {
    files: ["src/stores/sql/*.ts", "src/stores/sqlite.ts"],
    tests: ["test/stores/{once_in_turn,sql_store,sqlite}.test.ts"],
  },
  stores_sql_clients: {
    files: ["src/stores/d1.ts", "src/stores/libsql.ts", "src/stores/mysql.ts", "src/stores/postgres.ts"],
    tests: ["test/stores/sql_clients.test.ts"],
  },
  stores_cloudflare: {
    files: ["src/stores/cloudflare_kv.ts", "src/stores/durable_object.ts", "src/stores/durable_object/*.ts"],
    tests: ["test/stores/{cloudflare_kv,durable_object}_calls.test.ts"],
  },
  stores_upstash: {
    files: ["src/stores/upstash_redis.ts", "src/stores/redis/marked_call.ts"],
    tests: ["test/stores/upstash_redis_calls.test.ts"],
  },
  stores_clients: {
    files: ["src/stores/deno_kv.ts", "src/stores/dynamodb.ts", "src/stores/memcached.ts"],
    tests: ["test/stores/{deno_kv,dynamodb,memcached}_calls.test.ts"],
  },
  stores_blobs: {
    files: ["src/stores/netlify_blobs.ts", "src/stores/unstorage.ts"],
    tests: ["test/stores/{netlify_blobs,unstorage}.test.ts"],
  },
  testing_store_cases: {
    files: ["src/testing/store_cases.ts", "src/testing/store_checks.ts", "src/testing/cases/*.ts"],
    tests: ["test/testing/store_{cases,checks}.test.ts"],
  },
};
