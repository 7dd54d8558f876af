"""moto 5.2.5, made stricter where AWS's documented behaviour matters to hostguard.

It only wraps public classes, and is in memory. Each wrapper names the documented behaviour that it restores; everything
else is stock moto. `emulator.py` runs it.
"""
import copy, ipaddress, re, sys, threading
from collections import Counter
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidPermissionDuplicateError
from moto.ec2.models import ec2_backends
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.responses.security_groups import SecurityGroups
from moto.eks.models import EKSBackend

def bad(value, parameter, why=""):
    return EC2ClientError("InvalidParameterValue", f"Value ({value}) for parameter {parameter} is invalid. {why}".strip())

DESC = re.compile(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}\Z")
PROTO = {"tcp", "udp", "icmp", "icmpv6", "-1"}

def canonical(p):
    """one IpPermission, validated and in AWS's canonical spelling (host bits masked, IPv6 compressed)"""
    proto = str(p.get("IpProtocol", "")).lower()
    if not (proto in PROTO or (proto.isdigit() and int(proto) <= 255)):
        raise bad(p.get("IpProtocol"), "ipProtocol", "Unknown IP protocol.")
    if proto in ("tcp", "udp"):
        f, t = p.get("FromPort"), p.get("ToPort")
        if f is None or t is None:
            raise EC2ClientError("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
        f, t = int(f), int(t)
        if not (0 <= f <= 65535 and 0 <= t <= 65535):
            raise EC2ClientError("InvalidParameterValue", f"Invalid value '{f}' for portRange. Must be between 0 and 65535.")
        if f > t:
            raise EC2ClientError("InvalidParameterValue", f"Invalid TCP/UDP port range ({f}:{t})")
    seen = Counter()
    for field, key, cls in (("IpRanges", "CidrIp", ipaddress.IPv4Network), ("Ipv6Ranges", "CidrIpv6", ipaddress.IPv6Network)):
        for r in p.get(field, []) or []:
            raw = str(r.get(key, ""))
            try:
                if "/" not in raw: raise ValueError
                r[key] = str(cls(raw, strict=False))
            except ValueError:
                raise EC2ClientError("InvalidParameterValue", f"CIDR block {raw} is malformed")
            seen[r[key]] += 1
    for field, key in (("PrefixListIds", "PrefixListId"), ("UserIdGroupPairs", "GroupId")):
        for r in p.get(field, []) or []: seen[r.get(key) or r.get("GroupName")] += 1
    for field in ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs"):
        for r in p.get(field, []) or []:
            d = r.get("Description")
            if d is not None and not DESC.match(d):
                raise EC2ClientError("InvalidParameterValue", f"Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: a-zA-Z0-9. _-:/()#,@[]+=&;{{}}!$*")
    if any(n > 1 for n in seen.values()):
        raise EC2ClientError("InvalidParameterValue", "The same permission must not appear multiple times")
    return p

def permissions(self):
    params = self._get_params()
    ps = self._get_param("IpPermissions", [])
    if not ps:
        p = {k: params[k] for k in ("IpProtocol", "FromPort", "ToPort") if k in params}
        for k, f in (("CidrIp", "IpRanges"), ("CidrIpv6", "Ipv6Ranges")):
            if k in params: p[f] = [{k: params.pop(k)}]
        ps = [p]; params["IpPermissions"] = ps
    for p in ps: canonical(p)
    return ps

def authorize(self):
    self.error_on_dryrun()
    gid = self._get_param("GroupId")
    if gid and not re.fullmatch(r"sg-[0-9a-f]{8,17}", gid):
        raise EC2ClientError("InvalidGroupId.Malformed", f'Invalid id: "{gid}"')
    for p in permissions(self):
        for x in p.get("PrefixListIds", []) or []:
            if x["PrefixListId"] not in self.ec2_backend.managed_prefix_lists:
                raise EC2ClientError("InvalidPrefixListID.NotFound", f"The prefix list ID '{x['PrefixListId']}' does not exist")
    group = self.ec2_backend.get_security_group_by_name_or_id(self._get_param("GroupName") or gid, None)
    before = list(group.ingress_rules) if group else None
    added = []
    try:                                     # AWS applies the whole call or nothing, and returns every rule it made
        for kw in self._process_rules_from_querystring():
            rules, _ = self.ec2_backend.authorize_security_group_ingress(**kw); added += rules
    except Exception:
        if group: group.ingress_rules = before
        raise
    return ActionResult({"Return": True, "SecurityGroupRules": added})

def revoke(self):
    self.error_on_dryrun()
    gid = self._get_param("GroupName") or self._get_param("GroupId")
    group = self.ec2_backend.get_security_group_by_name_or_id(gid, None)
    if group is None: raise EC2ClientError("InvalidGroup.NotFound", f"The security group '{gid}' does not exist")
    ids = self._get_param("SecurityGroupRuleIds", [])
    for i in ids:
        if i not in [r.id for r in group.ingress_rules]:
            raise EC2ClientError("InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{i}' does not exist")
    before, unknown = list(group.ingress_rules), []
    if not ids: permissions(self)
    vpc = self.ec2_backend.vpcs.get(group.vpc_id)
    default = bool(vpc and str(vpc.is_default).lower() == "true")
    try:
        for kw in self._process_rules_from_querystring():
            kw.pop("sgrule_tags")
            try: self.ec2_backend.revoke_security_group_ingress(**kw)
            except EC2ClientError as e:      # default VPC: no error, the unknown permissions come back
                if not default or ids: raise
                unknown.append({"IpProtocol": kw["ip_protocol"], "FromPort": kw["from_port"], "ToPort": kw["to_port"], "IpRanges": kw["ip_ranges"]})
    except Exception:
        group.ingress_rules = before
        raise
    left = {r.id for r in group.ingress_rules}
    gone = [{"SecurityGroupRuleId": r.id, "GroupId": group.id, "IsEgress": False, "IpProtocol": r.ip_protocol, "FromPort": r.from_port, "ToPort": r.to_port,
             "CidrIpv4": (r.ip_range or {}).get("CidrIp"), "CidrIpv6": (r.ip_range or {}).get("CidrIpv6")} for r in before if r.id not in left]
    return ActionResult({"Return": True, "RevokedSecurityGroupRules": gone, "UnknownIpPermissions": unknown})

def limits(self):
    m = self._get_param("MaxResults")
    if m is not None and not 5 <= int(m) <= 1000:
        raise EC2ClientError("InvalidParameterValue", f"Value ( {m} ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.")
    return int(m) if m is not None else None

def describe_rules(self):
    n = limits(self); res = stock_rules(self)
    rules = list(res._result["SecurityGroupRules"]) if hasattr(res, "_result") else list(res.result["SecurityGroupRules"])
    tok = self._get_param("NextToken"); start = 0
    if tok:
        if not re.fullmatch(r"hg-\d+", tok): raise EC2ClientError("InvalidNextToken", "The token is invalid")
        start = int(tok[3:])
    out = {"SecurityGroupRules": rules[start:start + n] if n else rules[start:]}
    if n and start + n < len(rules): out["NextToken"] = f"hg-{start + n}"
    return ActionResult(out)

def describe_instances(self):
    limits(self)
    try: return stock_instances(self)
    except ValueError: raise EC2ClientError("InvalidParameterValue", "Unable to parse pagination token")
    except NotImplementedError as e: raise EC2ClientError("InvalidParameterValue", f"The filter is invalid: {e}")
    except Exception as e:
        if "have not been implemented" in str(e): raise EC2ClientError("InvalidParameterValue", "The filter '%s' is invalid" % re.search(r"'([^']+)'", str(e))[1])
        raise

def create_cluster(self, name, role_arn, resources_vpc_config, **kw):
    """EKS makes the cluster security group and reports it with the VPC (DescribeCluster.resourcesVpcConfig)."""
    ec2 = ec2_backends[self.account_id][self.region_name]
    sub = ec2.get_subnet(resources_vpc_config["subnetIds"][0])
    tags = {f"kubernetes.io/cluster/{name}": "owned", "aws:eks:cluster-name": name, "Name": f"eks-cluster-sg-{name}-1"}
    have = [g for g in ec2.describe_security_groups(filters={"tag:aws:eks:cluster-name": [name]})]
    sg = have[0] if have else ec2.create_security_group(f"eks-cluster-sg-{name}-1", "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as any managed workloads.", vpc_id=sub.vpc_id, tags=tags)
    cfg = dict({"securityGroupIds": [], "endpointPublicAccess": True, "endpointPrivateAccess": False, "publicAccessCidrs": ["0.0.0.0/0"]}, **resources_vpc_config, clusterSecurityGroupId=sg.id, vpcId=sub.vpc_id)
    return stock_cluster(self, name, role_arn, cfg, **kw)

def not_in_a_dry_run(method):
    """a dry run changes nothing, whatever the action"""
    def wrapped(self):
        self.error_on_dryrun()
        return method(self)
    return wrapped

for name in ("update_security_group_rule_descriptions_ingress", "update_security_group_rule_descriptions_egress"):
    setattr(SecurityGroups, name, not_in_a_dry_run(getattr(SecurityGroups, name)))

stock_rules, stock_instances, stock_cluster = SecurityGroups.describe_security_group_rules, InstanceResponse.describe_instances, EKSBackend.create_cluster
SecurityGroups.authorize_security_group_ingress = authorize
SecurityGroups.revoke_security_group_ingress = revoke
SecurityGroups.describe_security_group_rules = describe_rules
InstanceResponse.describe_instances = describe_instances
EKSBackend.create_cluster = create_cluster


def application():
    return DomainDispatcherApplication(create_backend_app)
