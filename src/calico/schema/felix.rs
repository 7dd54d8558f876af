//! FelixConfiguration (`api/pkg/apis/projectcalico/v3/felixconfig.go`).

use super::metadata::top_level_metadata;
use super::*;

pub(super) static FELIX_CONFIGURATION: Field = object(
    "",
    &[
        text("apiVersion"),
        text("kind"),
        top_level_metadata(),
        object("spec", SPEC).required().always(),
    ],
);

static TEXTS: List = list_of(text(""));

static FAILSAFES: List = list_of(object(
    "",
    &[
        text("net"),
        integer("port").width(Width::U16).required().always(),
        text("protocol"),
    ],
));

static TIMEOUTS: List = list_of(object(
    "",
    &[
        text("name").required().always(),
        duration("timeout").required().always(),
    ],
));

static NODE_PORTS: List = list_of(port("")).sized(0, 7);

static ROUTE_TABLES: List = list_of(object("", ROUTE_TABLE));

const ROUTE_TABLE: &[Field] = &[integer("max").required().always(), integer("min").required().always()];

const fn timeout(name: &'static str) -> Field {
    text(name).form(Form::ConntrackTimeout).kept()
}

const CONNTRACK_TIMEOUTS: &[Field] = &[
    timeout("creationGracePeriod"),
    timeout("genericTimeout"),
    timeout("icmpTimeout"),
    timeout("tcpEstablished"),
    timeout("tcpFinsSeen"),
    timeout("tcpResetSeen"),
    timeout("tcpSynSent"),
    timeout("udpTimeout"),
];

const SPEC: &[Field] = &[
    flag("allowIPIPPacketsFromWorkloads").kept(),
    flag("allowVXLANPacketsFromWorkloads").kept(),
    choice("awsSrcDstCheck", &["DoNothing", "Enable", "Disable"]).kept(),
    choice("bpfAttachType", &["TC", "TCX", "Netkit"]).kept(),
    text("bpfCTLBLogFilter"),
    choice("bpfConnectTimeLoadBalancing", &["TCP", "Enabled", "Disabled"]).kept(),
    flag("bpfConnectTimeLoadBalancingEnabled").kept(),
    choice("bpfConntrackLogLevel", &["Off", "Debug"]),
    choice("bpfConntrackMode", &["Auto", "Userspace", "BPFProgram"]).kept(),
    object("bpfConntrackTimeouts", CONNTRACK_TIMEOUTS).kept(),
    list("bpfDSROptoutCIDRs", &TEXTS).kept().check(Check::Cidrs),
    text("bpfDataIfacePattern").check(Check::Regexp),
    text("bpfDisableGROForIfaces").check(Check::Regexp),
    flag("bpfDisableUnprivileged").kept(),
    flag("bpfEnabled").kept(),
    any_case("bpfEnforceRPF", &["Disabled", "Strict", "Loose"]),
    list("bpfExcludeCIDRsFromNAT", &TEXTS).kept().check(Check::Cidrs),
    integer("bpfExportBufferSizeMB").kept(),
    integer("bpfExtToServiceConnmark")
        .kept()
        .check(Check::Between(0, 4294967295)),
    any_case("bpfExternalServiceMode", &["Tunnel", "DSR"]),
    list("bpfForceTrackPacketsFromIfaces", &TEXTS)
        .kept()
        .check(Check::InterfaceFilters),
    flag("bpfHostConntrackBypass").kept(),
    choice("bpfHostNetworkedNATWithoutCTLB", &["Enabled", "Disabled"]).kept(),
    duration("bpfIPFragTimeout").form(Form::Duration).kept(),
    flag("bpfIPFragmentReassemblyEnabled").kept(),
    choice("bpfJITHardening", &["Auto", "Strict"]).kept(),
    integer("bpfKubeProxyHealthzPort")
        .kept()
        .check(Check::Between(0, 65535)),
    flag("bpfKubeProxyIptablesCleanupEnabled").kept(),
    duration("bpfKubeProxyMinSyncPeriod").form(Form::Duration).kept(),
    text("bpfL3IfacePattern").check(Check::Regexp),
    map("bpfLogFilters").kept().check(Check::LogFilters),
    any_case("bpfLogLevel", &["Off", "Info", "Debug"]).always(),
    integer("bpfMaglevMaxEndpointsPerService")
        .kept()
        .check(Check::Between(1, 3000)),
    integer("bpfMaglevMaxServices").kept().check(Check::Between(1, 3000)),
    integer("bpfMapSizeConntrack").kept(),
    integer("bpfMapSizeConntrackCleanupQueue")
        .within(1, i64::MAX)
        .kept()
        .check(Check::Between(1, i64::MAX)),
    any_case("bpfMapSizeConntrackScaling", &["Disabled", "DoubleIfFull"]),
    integer("bpfMapSizeIPSets").kept(),
    integer("bpfMapSizeIfState").kept(),
    integer("bpfMapSizeNATAffinity").kept(),
    integer("bpfMapSizeNATBackend").kept(),
    integer("bpfMapSizeNATFrontend").kept(),
    integer("bpfMapSizePerCpuConntrack").kept(),
    integer("bpfMapSizeRoute").kept(),
    choice("bpfOverlayHostSourceIP", &["TunnelAddress", "HostAddress"]).kept(),
    port("bpfPSNATPorts").kept(),
    flag("bpfPolicyDebugEnabled").kept(),
    choice("bpfProfiling", &["Enabled", "Disabled"]),
    choice("bpfRedirectToPeer", &["Enabled", "Disabled"]),
    text("cgroupV2Path"),
    any_case("chainInsertMode", &["Insert", "Append"]),
    text("dataplaneDriver"),
    duration("dataplaneWatchdogTimeout").kept(),
    flag("debugDisableLogDropping").kept(),
    text("debugHost").kept(),
    text("debugMemoryProfilePath"),
    integer("debugPort").kept().check(Check::Between(0, 65535)),
    duration("debugSimulateCalcGraphHangAfter").form(Form::Duration).kept(),
    duration("debugSimulateDataplaneApplyDelay").form(Form::Duration).kept(),
    duration("debugSimulateDataplaneHangAfter").form(Form::Duration).kept(),
    any_case("defaultEndpointToHostAction", &["Drop", "Accept", "Return"]),
    integer("deviceRouteProtocol").kept(),
    text("deviceRouteSourceAddress").longest(45),
    text("deviceRouteSourceAddressIPv6").longest(45),
    flag("disableConntrackInvalidCheck").kept(),
    duration("endpointReportingDelay").form(Form::Duration).kept(),
    flag("endpointReportingEnabled").kept(),
    text("endpointStatusPathPrefix"),
    list("externalNodesList", &TEXTS).kept(),
    list("failsafeInboundHostPorts", &FAILSAFES).kept(),
    list("failsafeOutboundHostPorts", &FAILSAFES).kept(),
    text("featureDetectOverride")
        .form(Form::FeatureOverrides)
        .check(Check::KeyValues),
    text("featureGates").form(Form::FeatureGates).check(Check::KeyValues),
    choice("floatingIPs", &["Enabled", "Disabled"]).kept(),
    flag("flowLogsCollectorDebugTrace").kept(),
    duration("flowLogsFlushInterval").form(Form::Duration).kept(),
    text("flowLogsGoldmaneServer").kept(),
    choice("flowLogsLocalReporter", &["Disabled", "Enabled"]).kept(),
    choice("flowLogsPolicyEvaluationMode", &["None", "Continuous"]).kept(),
    flag("genericXDPEnabled").kept(),
    integer("goGCThreshold").kept().check(Check::Between(-1, i64::MAX)),
    integer("goMaxProcs").kept().check(Check::Between(-1, i64::MAX)),
    integer("goMemoryLimitMB").kept().check(Check::Between(-1, i64::MAX)),
    flag("healthEnabled").kept(),
    text("healthHost").kept(),
    integer("healthPort").kept(),
    list("healthTimeoutOverrides", &TIMEOUTS),
    text("interfaceExclude"),
    text("interfacePrefix"),
    duration("interfaceRefreshInterval").form(Form::Duration).kept(),
    choice("ipForwarding", &["Enabled", "Disabled"]),
    flag("ipipEnabled").kept(),
    integer("ipipMTU").kept(),
    duration("ipsetsRefreshInterval").form(Form::Duration).kept(),
    choice("iptablesBackend", &["Legacy", "NFT", "Auto"]).kept(),
    any_case("iptablesFilterAllowAction", &["Accept", "Return"]),
    any_case("iptablesFilterDenyAction", &["Drop", "Reject"]),
    duration("iptablesLockProbeInterval").form(Form::Duration).kept(),
    any_case("iptablesMangleAllowAction", &["Accept", "Return"]),
    integer("iptablesMarkMask").within(0, 4294967295).kept(),
    text("iptablesNATOutgoingInterfaceFilter").check(Check::InterfaceFilter),
    duration("iptablesPostWriteCheckInterval").form(Form::Duration).kept(),
    duration("iptablesRefreshInterval").form(Form::Duration).kept(),
    integer("ipv4ElevatedRoutePriority")
        .kept()
        .check(Check::Between(1, 2147483646)),
    integer("ipv4NormalRoutePriority")
        .kept()
        .check(Check::Between(1, 2147483646)),
    integer("ipv6ElevatedRoutePriority")
        .kept()
        .check(Check::Between(1, 2147483646)),
    integer("ipv6NormalRoutePriority")
        .kept()
        .check(Check::Between(1, 2147483646)),
    flag("ipv6Support").kept(),
    choice("istioAmbientMode", &["Enabled", "Disabled"]).kept(),
    dscp("istioDSCPMark").kept(),
    list("kubeNodePortRanges", &NODE_PORTS).kept(),
    duration("liveMigrationRouteConvergenceTime")
        .form(Form::PlainDuration)
        .kept(),
    choice("localSubnetL2Reachability", &["Disabled", "PodsAndLoadBalancers"]).kept(),
    duration("localSubnetL2ReachabilityRefreshInterval").kept(),
    text("logActionRateLimit").form(Form::RateLimit).kept(),
    integer("logActionRateLimitBurst").within(0, 9999).kept(),
    text("logDebugFilenameRegex").check(Check::Regexp),
    text("logFilePath"),
    text("logPrefix").form(Form::LogPrefix),
    any_case(
        "logSeverityFile",
        &["Trace", "Debug", "Info", "Warning", "Error", "Fatal"],
    ),
    any_case(
        "logSeverityScreen",
        &["Trace", "Debug", "Info", "Warning", "Error", "Fatal"],
    ),
    any_case(
        "logSeveritySys",
        &["Trace", "Debug", "Info", "Warning", "Error", "Fatal"],
    ),
    integer("maxIpsetSize").kept(),
    text("metadataAddr"),
    integer("metadataPort").kept(),
    text("mtuIfacePattern").check(Check::Regexp),
    text("natOutgoingAddress").longest(45),
    choice("natOutgoingExclusions", &["IPPoolsOnly", "IPPoolsAndHostIPs"]).kept(),
    port("natPortRange").kept(),
    duration("netlinkTimeout").form(Form::Duration).kept(),
    any_case("nftablesFilterAllowAction", &["Accept", "Return"]),
    any_case("nftablesFilterDenyAction", &["Drop", "Reject"]),
    text("nftablesFlowTableDataIfacePattern").check(Check::Regexp),
    choice("nftablesFlowTableOffload", &["All", "Disabled"])
        .default("Disabled")
        .kept(),
    any_case("nftablesMangleAllowAction", &["Accept", "Return"]),
    integer("nftablesMarkMask").within(0, 4294967295).kept(),
    choice("nftablesMode", &["Disabled", "Enabled", "Auto"])
        .default("Auto")
        .kept(),
    duration("nftablesRefreshInterval").kept(),
    text("nodeSelector").longest(1024).kept(),
    text("openstackRegion"),
    text("policySyncPathPrefix"),
    choice(
        "programClusterRoutes",
        &["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"],
    )
    .kept(),
    flag("prometheusGoMetricsEnabled").kept(),
    text("prometheusMetricsCAFile").kept(),
    text("prometheusMetricsCertFile").kept(),
    choice(
        "prometheusMetricsClientAuth",
        &[
            "RequireAndVerifyClientCert",
            "RequireAnyClientCert",
            "VerifyClientCertIfGiven",
            "NoClientCert",
        ],
    )
    .kept(),
    flag("prometheusMetricsEnabled").kept(),
    text("prometheusMetricsHost").check(Check::PrometheusHost),
    text("prometheusMetricsKeyFile").kept(),
    integer("prometheusMetricsPort").kept(),
    flag("prometheusProcessMetricsEnabled").kept(),
    flag("prometheusWireGuardMetricsEnabled").kept(),
    flag("removeExternalRoutes").kept(),
    duration("reportingInterval").form(Form::Duration).kept(),
    duration("reportingTTL").form(Form::Duration).kept(),
    flag("requireMTUFile").kept(),
    duration("routeRefreshInterval").form(Form::Duration).kept(),
    any_case("routeSource", &["WorkloadIPs", "CalicoIPAM"]),
    flag("routeSyncDisabled").kept(),
    object("routeTableRange", ROUTE_TABLE).kept(),
    list("routeTableRanges", &ROUTE_TABLES).kept(),
    any_case("serviceLoopPrevention", &["Drop", "Reject", "Disabled"])
        .check(Check::OneOf(&["Drop", "Reject", "Disabled"])),
    flag("sidecarAccelerationEnabled").kept(),
    flag("usageReportingEnabled").kept(),
    duration("usageReportingInitialDelay").form(Form::Duration).kept(),
    duration("usageReportingInterval").form(Form::Duration).kept(),
    flag("useInternalDataplaneDriver").kept(),
    flag("vxlanEnabled").kept(),
    integer("vxlanMTU").kept(),
    integer("vxlanMTUV6").kept(),
    integer("vxlanPort").kept(),
    integer("vxlanVNI").kept(),
    choice("windowsManageFirewallRules", &["Enabled", "Disabled"]).kept(),
    flag("wireguardEnabled").kept(),
    flag("wireguardEnabledV6").kept(),
    flag("wireguardHostEncryptionEnabled").kept(),
    text("wireguardInterfaceName").check(Check::Interface),
    text("wireguardInterfaceNameV6").check(Check::Interface),
    duration("wireguardKeepAlive").form(Form::Duration).kept(),
    integer("wireguardListeningPort").kept().check(Check::Between(1, 65535)),
    integer("wireguardListeningPortV6")
        .kept()
        .check(Check::Between(1, 65535)),
    integer("wireguardMTU").kept(),
    integer("wireguardMTUV6").kept(),
    integer("wireguardRoutingRulePriority")
        .kept()
        .check(Check::Between(1, 32765)),
    flag("wireguardThreadingEnabled").kept(),
    any_case("workloadSourceSpoofing", &["Disabled", "Any"]).check(Check::OneOf(&["Disabled", "Any"])),
    flag("xdpEnabled").kept(),
    duration("xdpRefreshInterval").form(Form::Duration).kept(),
];
